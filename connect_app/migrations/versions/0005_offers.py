"""Offers of their own: kept by name, placed in the default flow, and counted.

Revision ID: 0005
Revises: 0004
"""

import json

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from connect_app import ids

revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None

# The owner of a table reads and writes past its policy only while that is not forced.
READ = ("flows", "flow_versions")
# What a session has is in the session's mode.
IN_MODES = ("choices", "answers")


def upgrade() -> None:
    op.create_table('offers',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('document', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('placement', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('is_on', sa.Boolean(), nullable=False),
    sa.Column('position', sa.Integer(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('changed_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('workspace_id', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['workspace_id'], ['workspaces.id'], name=op.f('fk_offers_workspace_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_offers')),
    sa.UniqueConstraint('workspace_id', 'id', name=op.f('uq_offers_workspace_id_id')),
    )
    op.create_index('ix_offers_workspace_id_position', 'offers', ['workspace_id', 'position'])
    _count()
    # What the business's own system was asked for, and what else is known of a subscription's changes.
    op.create_index('ix_actions_connection_id_subscription', 'actions', ['connection_id', 'subscription'])
    _hurry()
    _pause()
    for table in READ:
        op.execute(f"alter table {table} no force row level security")
    _take_out()
    for table in READ:
        op.execute(f"alter table {table} force row level security")
    op.execute("alter table offers enable row level security")
    op.execute("alter table offers force row level security")
    op.execute("create policy tenant on offers using (workspace_id = nullif(current_setting('app.workspace_id', true), ''))")


def _count() -> None:
    """What was accepted, declined and followed, and what it has cost this month, is counted out of indexes alone.

    Columns, because row level security keeps an index on an expression from being used. The session's mode is filled in by the database,
    so that the code before this goes on writing.
    """
    op.add_column('choices', sa.Column('offer_id', sa.Text(), sa.Computed("offer ->> 'id'", persisted=True), nullable=True))
    # All that was ever answered is written anew: what a page may wait for is no measure.
    op.execute("set local statement_timeout = 0")
    cost = {name: f"offer -> 'cost' ->> '{name}'" for name in ("amount", "currency")}
    amount = sa.Computed(f"cast({cost['amount']} as bigint)", persisted=True)
    op.add_column('choices', sa.Column('cost_amount', sa.BigInteger(), amount, nullable=True))
    op.add_column('choices', sa.Column('cost_currency', sa.Text(), sa.Computed(cost['currency'], persisted=True), nullable=True))
    op.execute(
        "create function in_its_mode() returns trigger language plpgsql as $$ begin"
        " select mode into new.mode from sessions where id = new.session_id; return new; end $$"
    )
    for table in IN_MODES:
        op.add_column(table, sa.Column('mode', sa.Text(), nullable=True))
        op.execute(f"create trigger {table}_mode before insert on {table} for each row execute function in_its_mode()")
    for table in ("sessions", *IN_MODES):
        op.execute(f"alter table {table} no force row level security")
    for table in IN_MODES:
        op.execute(f"update {table} t set mode = s.mode from sessions s where s.id = t.session_id")  # noqa: S608  our own names
        op.alter_column(table, 'mode', nullable=False)
    for table in ("sessions", *IN_MODES):
        op.execute(f"alter table {table} force row level security")
    op.create_index(
        'ix_choices_offer', 'choices', ['workspace_id', 'offer_id', 'mode', 'made_at'], postgresql_where=sa.text("verb = 'accept'"),
        postgresql_include=['id', 'cost_currency', 'cost_amount'],
    )
    op.create_index('ix_answers_step', 'answers', ['workspace_id', 'mode', 'step'])
    op.create_index(
        'ix_session_facts_taken', 'session_facts', ['workspace_id', 'session_id'], postgresql_where=sa.text("kind = 'offer.taken'")
    )


def _hurry() -> None:
    """What must be done by a certain time goes first while that is near; and the team hears once of each stage of what waits for it."""
    op.add_column('work', sa.Column('deadline', sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        'ix_work_queue_deadline', 'work', ['queue', 'deadline'], postgresql_where=sa.text("gave_up_at IS NULL AND deadline IS NOT NULL")
    )
    op.create_index(
        'ix_deliveries_delivered', 'deliveries', ['workspace_id', 'delivered_at'],
        postgresql_where=sa.text("state = 'delivered' AND kind <> 'email'"),
    )
    op.add_column('actions', sa.Column('reminded', sa.Integer(), server_default='0', nullable=False))


def _pause() -> None:
    """Pauses have a life of their own, and an old portal link is asked for a code before much is done by it."""
    op.create_table('pauses',
    sa.Column('action_id', sa.Text(), nullable=False),
    sa.Column('connection_id', sa.Text(), nullable=False),
    sa.Column('customer', sa.Text(), nullable=False),
    sa.Column('subscription', sa.Text(), nullable=False),
    sa.Column('started_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('resumes_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('reminded_for', sa.DateTime(timezone=True), nullable=True),
    sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('how', sa.Text(), nullable=True),
    sa.Column('settled_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('charge', sa.Text(), nullable=True),
    sa.Column('workspace_id', sa.Text(), nullable=False),
    sa.CheckConstraint("how IN ('ran_out', 'resumed', 'canceled', 'replaced')", name=op.f('ck_pauses_how')),
    sa.CheckConstraint("charge IN ('paid', 'failed', 'none')", name=op.f('ck_pauses_charge')),
    sa.ForeignKeyConstraint(
        ['workspace_id', 'action_id'], ['actions.workspace_id', 'actions.id'], name=op.f('fk_pauses_workspace_id_action_id'), ondelete='CASCADE'
    ),
    sa.ForeignKeyConstraint(['workspace_id'], ['workspaces.id'], name=op.f('fk_pauses_workspace_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('action_id', name=op.f('pk_pauses')),
    )
    op.create_index('ix_pauses_watched', 'pauses', ['connection_id', 'customer'], postgresql_where=sa.text("settled_at IS NULL"))
    op.execute("alter table pauses enable row level security")
    op.execute("alter table pauses force row level security")
    op.execute("create policy tenant on pauses using (workspace_id = nullif(current_setting('app.workspace_id', true), ''))")
    op.add_column('portal_links', sa.Column('code', postgresql.JSONB(astext_type=sa.Text()), nullable=True))


def _take_out() -> None:
    """The offers that published default flows have become rows, under ids of their own: the flow is published anew with these."""
    found = op.get_bind().execute(sa.text(
        "select f.id, f.workspace_id, v.number, v.document, v.published_at from flows f"
        " join flow_versions v on v.id = f.published_version_id where f.kind = 'default'"
    )).all()
    for flow in found:
        document = flow.document
        if not document.get("offers"):
            continue
        for position, offer in enumerate(document["offers"], start=1):
            before, offer["id"] = offer["id"], ids.new("off")
            reasons = [reason for reason in (document.get("survey") or {}).get("reasons", ()) if before in reason.get("offers", ())]
            for reason in reasons:
                reason["offers"] = [offer["id"] if name == before else name for name in reason["offers"]]
            placement = {"where": "reasons", "reasons": [reason["id"] for reason in reasons]}
            op.get_bind().execute(sa.text(
                "insert into offers (id, workspace_id, name, document, placement, is_on, position, created_at, changed_at)"
                " values (:id, :workspace, 'A lower price', cast(:document as jsonb), cast(:placement as jsonb), true, :position, :at, :at)"
            ), {"id": offer["id"], "workspace": flow.workspace_id, "document": json.dumps(offer), "placement": json.dumps(placement),
                "position": position, "at": flow.published_at})
        version = ids.new("ver")
        op.get_bind().execute(sa.text(
            "insert into flow_versions (id, workspace_id, flow_id, number, document, published_at, published_by)"
            " values (:id, :workspace, :flow, :number, cast(:document as jsonb), :at, 'holdfast')"
        ), {"id": version, "workspace": flow.workspace_id, "flow": flow.id, "number": flow.number + 1, "document": json.dumps(document),
            "at": flow.published_at})
        op.get_bind().execute(sa.text("update flows set published_version_id = :version where id = :id"), {"version": version, "id": flow.id})


def downgrade() -> None:
    op.drop_column('portal_links', 'code')
    op.drop_table('pauses')
    op.drop_column('actions', 'reminded')
    op.drop_index('ix_deliveries_delivered', table_name='deliveries')
    op.drop_index('ix_work_queue_deadline', table_name='work')
    op.drop_column('work', 'deadline')
    op.drop_index('ix_actions_connection_id_subscription', table_name='actions')
    op.drop_index('ix_session_facts_taken', table_name='session_facts')
    op.drop_index('ix_answers_step', table_name='answers')
    op.drop_index('ix_choices_offer', table_name='choices')
    for table in IN_MODES:
        op.execute(f"drop trigger {table}_mode on {table}")
        op.drop_column(table, 'mode')
    op.execute("drop function in_its_mode()")
    for column in ('cost_currency', 'cost_amount', 'offer_id'):
        op.drop_column('choices', column)
    op.drop_table('offers')
