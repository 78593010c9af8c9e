"""What speed needs.

Revision ID: 0003
Revises: 0002
"""

from alembic import op

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None


def upgrade() -> None:
    # An event's bytes stand beside its row: inside it, squeezed by pglz, they took a third of the time of keeping an event, and were
    # copied again whenever its state changed. Lz4 costs next to nothing, where the server was built with it.
    op.execute("alter table webhook_events alter raw set storage external")
    op.execute(
        """
        do $$ begin
          alter table webhook_events alter raw set compression lz4;
          alter table webhook_events alter raw set storage extended;
        exception when feature_not_supported then null;
        end $$
        """
    )


def downgrade() -> None:
    op.execute("alter table webhook_events alter raw set storage extended")
    op.execute("alter table webhook_events alter raw set compression default")
