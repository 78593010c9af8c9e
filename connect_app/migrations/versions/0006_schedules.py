"""Subscription subscription_schedules in the mirror: what Stripe has been told to lead a subscription through.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0006'
down_revision = '0005'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('subscription_schedules',
    sa.Column('subscription', sa.Text(), nullable=True),
    sa.Column('status', sa.Text(), nullable=False),
    sa.Column('workspace_id', sa.Text(), nullable=False),
    sa.Column('connection_id', sa.Text(), nullable=False),
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('as_of', sa.DateTime(timezone=True), nullable=False),
    sa.Column('is_deleted', sa.Boolean(), server_default='false', nullable=False),
    sa.Column('raw', postgresql.JSON(astext_type=sa.Text()), nullable=False),
    sa.ForeignKeyConstraint(
        ['workspace_id', 'connection_id'], ['connections.workspace_id', 'connections.id'],
        name=op.f('fk_subscription_schedules_workspace_id_connection_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('connection_id', 'id', name=op.f('pk_subscription_schedules')),
    )
    op.execute("alter table subscription_schedules enable row level security")
    op.execute("alter table subscription_schedules force row level security")
    op.execute("create policy tenant on subscription_schedules using (workspace_id = nullif(current_setting('app.workspace_id', true), ''))")


def downgrade() -> None:
    op.drop_table('subscription_schedules')
