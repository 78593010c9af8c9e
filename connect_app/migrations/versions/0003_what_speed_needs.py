"""What speed needs.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None

OUTBOUND_TABLES = ("endpoints", "delivery_attempts")

CASE_TABLES = ("case_marks", "case_sessions", "case_days")
# The name of each function that marks what is to be counted anew, and the rest of it after `begin`.
MARKS = {
    "mark_session": """
      if tg_op = 'DELETE' then
        insert into case_marks (workspace_id, mode, customer, subscription)
        select old.workspace_id, old.mode, old.customer, old.subscription from workspaces where id = old.workspace_id;
      else
        insert into case_marks (workspace_id, mode, customer, subscription)
        values (new.workspace_id, new.mode, new.customer, new.subscription);
      end if;
      return null;""",
    "mark_outcome": """
      insert into case_marks (workspace_id, mode, customer, subscription)
      select workspace_id, mode, customer, subscription from sessions
      where id = case when tg_op = 'DELETE' then old.session_id else new.session_id end;
      return null;""",
    "mark_action": """
      insert into case_marks (workspace_id, mode, customer, subscription)
      select s.workspace_id, s.mode, s.customer, s.subscription from choices c join sessions s on s.id = c.session_id where c.id = new.choice_id;
      return null;""",
}
TRIGGERS = {
    "mark_opened": "after insert on sessions for each row when (new.shown_at is not null) execute function mark_session()",
    "mark_shown": "after update of shown_at on sessions for each row when (new.shown_at is distinct from old.shown_at)"
    " execute function mark_session()",
    "mark_gone": "after delete on sessions for each row when (old.shown_at is not null) execute function mark_session()",
    "mark_decided": "after insert or delete on outcomes for each row execute function mark_outcome()",
    "mark_changed": "after update on outcomes for each row"
    " when ((new.state, new.how, new.revenue) is distinct from (old.state, old.how, old.revenue)) execute function mark_outcome()",
    "mark_chosen": "after insert on actions for each row when (new.choice_id is not null) execute function mark_action()",
    # An ended action does not begin again; where one ever did, the numbers should know.
    "mark_revived": "after update of state on actions for each row when (new.choice_id is not null and old.state in ('verified', 'failed'))"
    " execute function mark_action()",
}


MIRRORED = ("customers", "subscriptions", "products", "prices", "coupons", "invoices", "discounts", "charges")


def upgrade() -> None:
    _outbound()
    _ingestion()
    _count_cases()


def _count_cases() -> None:
    """Home and Analytics add up what was counted, and look only at what has changed since."""
    # Those that are there keep the save interval of today: what held when they were opened, nobody wrote down.
    op.add_column('sessions', sa.Column('save_interval_days', sa.Integer(), server_default='30', nullable=False))
    for table in ("sessions", "settings"):
        op.execute(f"alter table {table} no force row level security")
    op.execute(
        "update sessions s set save_interval_days = cast(t.value->>'value' as integer) from settings t"
        " where t.workspace_id = s.workspace_id and t.name = 'save_interval_days'"
    )
    for table in ("sessions", "settings"):
        op.execute(f"alter table {table} force row level security")
    op.create_table('case_marks',
    sa.Column('id', sa.BigInteger(), sa.Identity(), nullable=False),
    sa.Column('mode', sa.Text(), nullable=False),
    sa.Column('customer', sa.Text(), nullable=False),
    sa.Column('subscription', sa.Text(), nullable=False),
    sa.Column('workspace_id', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['workspace_id'], ['workspaces.id'], name=op.f('fk_case_marks_workspace_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_case_marks'))
    )
    op.create_index('ix_case_marks_workspace_id_id', 'case_marks', ['workspace_id', 'id'])
    op.create_table('case_sessions',
    sa.Column('session_id', sa.Text(), nullable=False),
    sa.Column('mode', sa.Text(), nullable=False),
    sa.Column('customer', sa.Text(), nullable=False),
    sa.Column('subscription', sa.Text(), nullable=False),
    sa.Column('minted_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('outcome', sa.Text(), nullable=False),
    sa.Column('begun_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('state', sa.Text(), nullable=True),
    sa.Column('worth', postgresql.JSONB(astext_type=sa.Text()), nullable=True),
    sa.Column('workspace_id', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['workspace_id'], ['workspaces.id'], name=op.f('fk_case_sessions_workspace_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('session_id', name=op.f('pk_case_sessions'))
    )
    op.create_index('ix_case_sessions_chain', 'case_sessions', ['workspace_id', 'mode', 'customer', 'subscription'])
    op.create_index('ix_case_sessions_minted', 'case_sessions', ['workspace_id', 'mode', 'minted_at', 'session_id'])
    op.create_index('ix_case_sessions_outcome', 'case_sessions', ['workspace_id', 'mode', 'outcome', 'minted_at', 'session_id'])
    op.create_index(
        'ix_case_sessions_begun', 'case_sessions', ['workspace_id', 'mode', 'begun_at'], postgresql_where=sa.text('begun_at is not null')
    )
    op.create_table('case_days',
    sa.Column('workspace_id', sa.Text(), nullable=False),
    sa.Column('mode', sa.Text(), nullable=False),
    sa.Column('day', sa.Date(), nullable=False),
    sa.Column('what', sa.Text(), nullable=False),
    sa.Column('key', sa.Text(), nullable=False),
    sa.Column('number', sa.BigInteger(), nullable=False),
    sa.Column('amount', sa.BigInteger(), nullable=False),
    sa.Column('unknown', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['workspace_id'], ['workspaces.id'], name=op.f('fk_case_days_workspace_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('workspace_id', 'mode', 'day', 'what', 'key', name=op.f('pk_case_days'))
    )
    op.create_index('ix_sessions_chain', 'sessions', ['workspace_id', 'customer', 'subscription'])
    op.create_index(
        'ix_outcomes_watched', 'outcomes', ['workspace_id', 'state', 'interval_ends_at', 'session_id'],
        postgresql_where=sa.text("state IN ('watch', 'paused')"),
    )
    # Everything there is has yet to be counted. The owner of a table reads past its policy only while that is not forced.
    op.execute("alter table sessions no force row level security")
    op.execute(
        "insert into case_marks (workspace_id, mode, customer, subscription)"
        " select distinct workspace_id, mode, customer, subscription from sessions where shown_at is not null"
    )
    op.execute("alter table sessions force row level security")
    for table in CASE_TABLES:
        op.execute(f"alter table {table} enable row level security")
        op.execute(f"alter table {table} force row level security")
        op.execute(
            f"create policy tenant on {table} "
            "using (workspace_id = nullif(current_setting('app.workspace_id', true), ''))"
        )
    for name, body in MARKS.items():
        op.execute(f"create function {name}() returns trigger language plpgsql as $$ begin {body} end $$")
    for name, rest in TRIGGERS.items():
        op.execute(f"create trigger {name} {rest}")


def downgrade() -> None:
    _no_outbound()
    for name, rest in TRIGGERS.items():
        op.execute(f"drop trigger {name} on {rest.split(' on ')[1].split()[0]}")
    for name in MARKS:
        op.execute(f"drop function {name}()")
    op.drop_index('ix_outcomes_watched', table_name='outcomes')
    op.drop_index('ix_sessions_chain', table_name='sessions')
    for table in reversed(CASE_TABLES):
        op.drop_table(table)
    op.drop_column('sessions', 'save_interval_days')
    _no_ingestion()


def _outbound() -> None:
    """Webhooks and pass-through URLs of the business, and their deliveries beside the letters."""
    op.create_table('endpoints',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('mode', sa.Text(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('url', sa.Text(), nullable=False),
    sa.Column('topics', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('sealed', sa.LargeBinary(), nullable=False),
    sa.Column('sealed_before', sa.LargeBinary(), nullable=True),
    sa.Column('overlap_until', sa.DateTime(timezone=True), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('failing_since', sa.DateTime(timezone=True), nullable=True),
    sa.Column('closed_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('closed_reason', sa.Text(), nullable=True),
    sa.Column('workspace_id', sa.Text(), nullable=False),
    sa.CheckConstraint("closed_reason IN ('by_team', 'failing', 'gone')", name=op.f('ck_endpoints_closed_reason')),
    sa.CheckConstraint("kind IN ('webhook', 'call', 'redirect')", name=op.f('ck_endpoints_kind')),
    sa.CheckConstraint("mode IN ('test', 'live')", name=op.f('ck_endpoints_mode')),
    sa.ForeignKeyConstraint(['workspace_id'], ['workspaces.id'], name=op.f('fk_endpoints_workspace_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_endpoints')),
    sa.UniqueConstraint('workspace_id', 'id', name=op.f('uq_endpoints_workspace_id_id'))
    )
    op.create_index('ix_endpoints_workspace_id_mode', 'endpoints', ['workspace_id', 'mode'], unique=False)
    op.add_column('deliveries', sa.Column('endpoint_id', sa.Text(), nullable=True))
    op.add_column('deliveries', sa.Column('attempts', sa.Integer(), server_default='0', nullable=False))
    op.add_column('deliveries', sa.Column('due_at', sa.DateTime(timezone=True), nullable=True))
    op.drop_constraint(op.f('ck_deliveries_kind'), 'deliveries', type_='check')
    op.create_check_constraint(op.f('ck_deliveries_kind'), 'deliveries', "kind IN ('email', 'webhook', 'call')")
    op.create_foreign_key(op.f('fk_deliveries_workspace_id_endpoint_id'), 'deliveries', 'endpoints', ['workspace_id', 'endpoint_id'], ['workspace_id', 'id'], ondelete='CASCADE')
    op.create_index('ix_deliveries_endpoint_id_id', 'deliveries', ['endpoint_id', 'id'], unique=False, postgresql_where='endpoint_id IS NOT NULL')
    op.create_index('ix_deliveries_endpoint_id_due_at', 'deliveries', ['endpoint_id', 'due_at'], unique=False, postgresql_where="state = 'queued' AND endpoint_id IS NOT NULL")
    op.create_table('delivery_attempts',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('delivery_id', sa.Text(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('took_ms', sa.Integer(), nullable=False),
    sa.Column('status', sa.Integer(), nullable=True),
    sa.Column('problem', sa.Text(), nullable=True),
    sa.Column('response', sa.Text(), nullable=True),
    sa.Column('workspace_id', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['workspace_id', 'delivery_id'], ['deliveries.workspace_id', 'deliveries.id'], name=op.f('fk_delivery_attempts_workspace_id_delivery_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['workspace_id'], ['workspaces.id'], name=op.f('fk_delivery_attempts_workspace_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_delivery_attempts'))
    )
    op.create_index('ix_delivery_attempts_delivery_id', 'delivery_attempts', ['delivery_id'], unique=False)
    op.add_column('connections', sa.Column('told', postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    for table in OUTBOUND_TABLES:
        op.execute(f"alter table {table} enable row level security")
        op.execute(f"alter table {table} force row level security")
        op.execute(f"create policy tenant on {table} using (workspace_id = nullif(current_setting('app.workspace_id', true), ''))")


def _no_outbound() -> None:
    op.drop_column('connections', 'told')
    op.drop_table('delivery_attempts')
    # A database that could not say them loses them: what was told to endpoints that are no more.
    op.execute("alter table deliveries no force row level security")
    op.execute("delete from deliveries where kind <> 'email'")
    op.execute("alter table deliveries force row level security")
    op.drop_index('ix_deliveries_endpoint_id_due_at', table_name='deliveries')
    op.drop_index('ix_deliveries_endpoint_id_id', table_name='deliveries')
    op.drop_constraint(op.f('fk_deliveries_workspace_id_endpoint_id'), 'deliveries', type_='foreignkey')
    op.drop_constraint(op.f('ck_deliveries_kind'), 'deliveries', type_='check')
    op.create_check_constraint(op.f('ck_deliveries_kind'), 'deliveries', "kind IN ('email')")
    op.drop_column('deliveries', 'due_at')
    op.drop_column('deliveries', 'attempts')
    op.drop_column('deliveries', 'endpoint_id')
    op.drop_index('ix_endpoints_workspace_id_mode', table_name='endpoints')
    op.drop_table('endpoints')


def _ingestion() -> None:
    # An event's bytes stand beside its row: inside it, squeezed by pglz, they took a third of the time of keeping an event, and were
    # copied again whenever its state changed. Lz4 costs next to nothing, where the server was built with it. The same goes for the
    # mirror's JSON, which is quicker to write as text than as jsonb, and whose rows need not look up their workspace and their
    # connection: one leads to the other.
    for table in MIRRORED:
        op.drop_constraint(f'fk_{table}_workspace_id', table, type_='foreignkey')
        op.execute(f"alter table {table} alter raw type json using raw::json")
    for table in ("webhook_events", *MIRRORED):
        op.execute(f"alter table {table} alter raw set storage external")
        op.execute(
            f"""
            do $$ begin
              alter table {table} alter raw set compression lz4;
              alter table {table} alter raw set storage extended;
            exception when feature_not_supported then null;
            end $$
            """
        )
    # An event that is done stays where it stands on its page, and no index has to hear of it.
    op.drop_index('ix_webhook_events_unsettled', table_name='webhook_events')
    is_aside = sa.Computed("state in ('waiting_for_account', 'failed')", persisted=True)
    op.add_column('webhook_events', sa.Column('is_aside', sa.Boolean(), is_aside, nullable=False))
    op.create_index('ix_webhook_events_aside', 'webhook_events', ['account', 'livemode', 'received_at'], postgresql_where=sa.text('is_aside'))
    op.execute("alter table webhook_events set (fillfactor = 50)")
    op.drop_index('ix_webhook_pending_lane_id_position', table_name='webhook_pending')
    op.drop_constraint('pk_webhook_pending', 'webhook_pending', type_='primary')
    op.create_primary_key('pk_webhook_pending', 'webhook_pending', ['lane_id', 'position'])


def _no_ingestion() -> None:
    op.drop_constraint('pk_webhook_pending', 'webhook_pending', type_='primary')
    op.create_primary_key('pk_webhook_pending', 'webhook_pending', ['position'])
    op.create_index('ix_webhook_pending_lane_id_position', 'webhook_pending', ['lane_id', 'position'])
    op.execute("alter table webhook_events reset (fillfactor)")
    op.drop_index('ix_webhook_events_aside', table_name='webhook_events')
    op.drop_column('webhook_events', 'is_aside')
    unsettled = sa.text("state IN ('waiting_for_account', 'failed')")
    op.create_index('ix_webhook_events_unsettled', 'webhook_events', ['account', 'livemode', 'state'], postgresql_where=unsettled)
    for table in ("webhook_events", *MIRRORED):
        op.execute(f"alter table {table} alter raw set storage extended")
        op.execute(f"alter table {table} alter raw set compression default")
    for table in MIRRORED:
        op.execute(f"alter table {table} alter raw type jsonb using raw::jsonb")
        op.create_foreign_key(f'fk_{table}_workspace_id', table, 'workspaces', ['workspace_id'], ['id'], ondelete='CASCADE')
