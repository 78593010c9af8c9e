"""API keys, and what becomes of a call that says an action is done.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0007'
down_revision = '0006'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('api_keys',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('mode', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('last4', sa.Text(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('last_used_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('revoked_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('workspace_id', sa.Text(), nullable=False),
    sa.CheckConstraint("mode IN ('test', 'live')", name=op.f('ck_api_keys_mode')),
    sa.ForeignKeyConstraint(['workspace_id'], ['workspaces.id'], name=op.f('fk_api_keys_workspace_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_api_keys')),
    sa.UniqueConstraint('workspace_id', 'id', name=op.f('uq_api_keys_workspace_id_id')),
    )
    op.create_table('api_key_lookups',
    sa.Column('digest', sa.LargeBinary(), nullable=False),
    sa.Column('key_id', sa.Text(), nullable=False),
    sa.Column('workspace_id', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['workspace_id', 'key_id'], ['api_keys.workspace_id', 'api_keys.id'],
        name=op.f('fk_api_key_lookups_workspace_id_key_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('digest', name=op.f('pk_api_key_lookups')),
    sa.UniqueConstraint('key_id', name=op.f('uq_api_key_lookups_key_id')),
    )
    op.execute("alter table api_keys enable row level security")
    op.execute("alter table api_keys force row level security")
    op.execute("create policy tenant on api_keys using (workspace_id = nullif(current_setting('app.workspace_id', true), ''))")
    op.add_column('actions', sa.Column('confirmation', postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.create_index('ix_actions_workspace_id_subscription', 'actions', ['workspace_id', 'subscription'])


def downgrade() -> None:
    op.drop_index('ix_actions_workspace_id_subscription', table_name='actions')
    op.drop_column('actions', 'confirmation')
    op.drop_table('api_key_lookups')
    op.drop_table('api_keys')
