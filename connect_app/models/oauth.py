"""One-shot states of Connect round trips."""

from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from connect_app.models.base import Base


class OauthState(Base):
    """A round trip that has begun: deleted by the callback before the code is exchanged, so that no code is exchanged twice."""

    __tablename__ = "oauth_states"
    state_hash: Mapped[str] = mapped_column(primary_key=True)
    browser_hash: Mapped[str]
    mode: Mapped[str]
    workspace_id: Mapped[str | None] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
