"""What a cancel of one item out of several is: a verb of its own.

Revision ID: 0008
Revises: 0007
"""

from alembic import op

revision = '0008'
down_revision = '0007'
branch_labels = None
depends_on = None

VERBS_BEFORE = "'discount', 'pause', 'extension', 'trial_extension', 'plan_change', 'cancel', 'undo_cancel', 'resume', 'payment_method'"
VERBS = f"{VERBS_BEFORE}, 'item_cancel'"


def upgrade() -> None:
    _verbs(VERBS)


def downgrade() -> None:
    # What could not be said before is lost with what can say it. The owner of a table reads past its policy only while that is not forced.
    for statement in (
        "alter table actions no force row level security",
        f"delete from actions where verb not in ({VERBS_BEFORE})",
        "alter table actions force row level security",
    ):
        op.execute(statement)
    _verbs(VERBS_BEFORE)


def _verbs(verbs: str) -> None:
    op.drop_constraint(op.f('ck_actions_verb'), 'actions', type_='check')
    op.create_check_constraint(op.f('ck_actions_verb'), 'actions', f"verb in ({verbs})")
