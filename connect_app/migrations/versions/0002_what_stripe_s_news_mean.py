"""What Stripe's news mean: mapped fields, audiences, discounts and charges in the mirror, alerts, validated outcomes

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None

TENANT_TABLES = ("field_mappings", "catalogue_fields", "catalogue_surveys", "first_purchases", "audiences", "discounts", "charges", "alerts")


def upgrade() -> None:
    op.create_table('audiences',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('rule', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('changed_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('workspace_id', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['workspace_id'], ['workspaces.id'], name=op.f('fk_audiences_workspace_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_audiences')),
    sa.UniqueConstraint('workspace_id', 'id', name=op.f('uq_audiences_workspace_id_id')),
    sa.UniqueConstraint('workspace_id', 'name', name=op.f('uq_audiences_workspace_id_name'))
    )
    op.create_table('field_mappings',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('type', sa.Text(), nullable=False),
    sa.Column('source', sa.Text(), nullable=False),
    sa.Column('fallback', sa.Text(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('changed_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('workspace_id', sa.Text(), nullable=False),
    sa.CheckConstraint("type IN ('text', 'date', 'decimal', 'email', 'url', 'integer', 'boolean', 'money')", name=op.f('ck_field_mappings_type')),
    sa.ForeignKeyConstraint(['workspace_id'], ['workspaces.id'], name=op.f('fk_field_mappings_workspace_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_field_mappings')),
    sa.UniqueConstraint('workspace_id', 'id', name=op.f('uq_field_mappings_workspace_id_id')),
    sa.UniqueConstraint('workspace_id', 'name', name=op.f('uq_field_mappings_workspace_id_name'))
    )
    op.create_table('alerts',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('connection_id', sa.Text(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('details', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('opened_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('closed_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('workspace_id', sa.Text(), nullable=False),
    sa.CheckConstraint("kind IN ('silent', 'lagging', 'access_lost', 'cannot_write', 'events_failed', 'drift')", name=op.f('ck_alerts_kind')),
    sa.ForeignKeyConstraint(['workspace_id', 'connection_id'], ['connections.workspace_id', 'connections.id'], name=op.f('fk_alerts_workspace_id_connection_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['workspace_id'], ['workspaces.id'], name=op.f('fk_alerts_workspace_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_alerts'))
    )
    op.create_index('uq_alerts_open', 'alerts', ['connection_id', 'kind'], unique=True, postgresql_where='closed_at IS NULL')
    op.create_table('catalogue_fields',
    sa.Column('connection_id', sa.Text(), nullable=False),
    sa.Column('path', sa.Text(), nullable=False),
    sa.Column('type', sa.Text(), nullable=False),
    sa.Column('samples', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('seen_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('workspace_id', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['workspace_id', 'connection_id'], ['connections.workspace_id', 'connections.id'], name=op.f('fk_catalogue_fields_workspace_id_connection_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['workspace_id'], ['workspaces.id'], name=op.f('fk_catalogue_fields_workspace_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('connection_id', 'path', name=op.f('pk_catalogue_fields'))
    )
    op.create_table('catalogue_surveys',
    sa.Column('connection_id', sa.Text(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('after', sa.Text(), nullable=False),
    sa.Column('seen', sa.Integer(), nullable=False),
    sa.Column('since', sa.DateTime(timezone=True), nullable=True),
    sa.Column('started_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('workspace_id', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['workspace_id', 'connection_id'], ['connections.workspace_id', 'connections.id'], name=op.f('fk_catalogue_surveys_workspace_id_connection_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['workspace_id'], ['workspaces.id'], name=op.f('fk_catalogue_surveys_workspace_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('connection_id', name=op.f('pk_catalogue_surveys'))
    )
    op.create_table('charges',
    sa.Column('customer', sa.Text(), nullable=True),
    sa.Column('payment_intent', sa.Text(), nullable=True),
    sa.Column('invoice', sa.Text(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('currency', sa.Text(), nullable=False),
    sa.Column('amount', sa.BigInteger(), nullable=False),
    sa.Column('amount_refunded', sa.BigInteger(), nullable=False),
    sa.Column('dispute_status', sa.Text(), nullable=True),
    sa.Column('amount_disputed', sa.BigInteger(), server_default='0', nullable=False),
    sa.Column('connection_id', sa.Text(), nullable=False),
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('as_of', sa.DateTime(timezone=True), nullable=False),
    sa.Column('is_deleted', sa.Boolean(), server_default='false', nullable=False),
    sa.Column('raw', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('workspace_id', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['workspace_id', 'connection_id'], ['connections.workspace_id', 'connections.id'], name=op.f('fk_charges_workspace_id_connection_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['workspace_id'], ['workspaces.id'], name=op.f('fk_charges_workspace_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('connection_id', 'id', name=op.f('pk_charges'))
    )
    op.create_index('ix_charges_connection_id_customer', 'charges', ['connection_id', 'customer'], unique=False)
    op.create_index('ix_charges_connection_id_invoice', 'charges', ['connection_id', 'invoice'], unique=False)
    op.create_table('discounts',
    sa.Column('customer', sa.Text(), nullable=True),
    sa.Column('subscription', sa.Text(), nullable=True),
    sa.Column('coupon', sa.Text(), nullable=True),
    sa.Column('starts_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('ends_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('connection_id', sa.Text(), nullable=False),
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('as_of', sa.DateTime(timezone=True), nullable=False),
    sa.Column('is_deleted', sa.Boolean(), server_default='false', nullable=False),
    sa.Column('raw', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('workspace_id', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['workspace_id', 'connection_id'], ['connections.workspace_id', 'connections.id'], name=op.f('fk_discounts_workspace_id_connection_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['workspace_id'], ['workspaces.id'], name=op.f('fk_discounts_workspace_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('connection_id', 'id', name=op.f('pk_discounts'))
    )
    op.create_index('ix_discounts_connection_id_subscription', 'discounts', ['connection_id', 'subscription'], unique=False)
    op.create_table('first_purchases',
    sa.Column('connection_id', sa.Text(), nullable=False),
    sa.Column('customer', sa.Text(), nullable=False),
    sa.Column('paid_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('looked_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('workspace_id', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['workspace_id', 'connection_id'], ['connections.workspace_id', 'connections.id'], name=op.f('fk_first_purchases_workspace_id_connection_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['workspace_id'], ['workspaces.id'], name=op.f('fk_first_purchases_workspace_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('connection_id', 'customer', name=op.f('pk_first_purchases'))
    )
    op.add_column('account_lookups', sa.Column('health', postgresql.JSONB(astext_type=sa.Text()), server_default='{}', nullable=False))
    op.add_column('connections', sa.Column('reconciled_at', sa.DateTime(timezone=True), nullable=True))
    op.add_column('connections', sa.Column('compared_at', sa.DateTime(timezone=True), nullable=True))
    op.add_column('connections', sa.Column('drift', postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.create_index('ix_actions_workspace_id_customer', 'actions', ['workspace_id', 'customer'], unique=False)
    op.add_column('customers', sa.Column('email_key', sa.Text(), sa.Computed('lower(email)', persisted=True), nullable=True))
    op.add_column('customers', sa.Column('name_key', sa.Text(), sa.Computed('lower(name)', persisted=True), nullable=True))
    op.create_index('ix_customers_connection_id_email_key', 'customers', ['connection_id', 'email_key', 'id'], unique=False, postgresql_ops={'email_key': 'text_pattern_ops'})
    op.create_index('ix_customers_connection_id_name_key', 'customers', ['connection_id', 'name_key', 'id'], unique=False, postgresql_ops={'name_key': 'text_pattern_ops'})
    op.create_index('ix_invoices_connection_id_customer', 'invoices', ['connection_id', 'customer'], unique=False)
    op.add_column('outcomes', sa.Column('door', sa.Text(), nullable=True))
    op.add_column('outcomes', sa.Column('interval_ends_at', sa.DateTime(timezone=True), nullable=True))
    op.add_column('outcomes', sa.Column('checked_at', sa.DateTime(timezone=True), nullable=True))
    op.add_column('outcomes', sa.Column('revenue', postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.create_index('ix_sessions_connection_id_customer', 'sessions', ['connection_id', 'customer'], unique=False)
    op.create_index('ix_sessions_connection_id_subscription', 'sessions', ['connection_id', 'subscription'], unique=False)
    for table in TENANT_TABLES:
        op.execute(f"alter table {table} enable row level security")
        op.execute(f"alter table {table} force row level security")
        op.execute(
            f"create policy tenant on {table} "
            "using (workspace_id = nullif(current_setting('app.workspace_id', true), ''))"
        )


def downgrade() -> None:
    op.drop_index('ix_sessions_connection_id_subscription', table_name='sessions')
    op.drop_index('ix_sessions_connection_id_customer', table_name='sessions')
    op.drop_column('outcomes', 'revenue')
    op.drop_column('outcomes', 'checked_at')
    op.drop_column('outcomes', 'interval_ends_at')
    op.drop_column('outcomes', 'door')
    op.drop_index('ix_invoices_connection_id_customer', table_name='invoices')
    op.drop_index('ix_customers_connection_id_name_key', table_name='customers')
    op.drop_index('ix_actions_workspace_id_customer', table_name='actions')
    op.drop_index('ix_customers_connection_id_email_key', table_name='customers')
    op.drop_column('customers', 'name_key')
    op.drop_column('customers', 'email_key')
    op.drop_column('account_lookups', 'health')
    op.drop_column('connections', 'drift')
    op.drop_column('connections', 'compared_at')
    op.drop_column('connections', 'reconciled_at')
    op.drop_table('first_purchases')
    op.drop_index('ix_discounts_connection_id_subscription', table_name='discounts')
    op.drop_table('discounts')
    op.drop_index('ix_charges_connection_id_invoice', table_name='charges')
    op.drop_index('ix_charges_connection_id_customer', table_name='charges')
    op.drop_table('charges')
    op.drop_table('catalogue_surveys')
    op.drop_table('catalogue_fields')
    op.drop_index('uq_alerts_open', table_name='alerts', postgresql_where='closed_at IS NULL')
    op.drop_table('alerts')
    op.drop_table('field_mappings')
    op.drop_table('audiences')
