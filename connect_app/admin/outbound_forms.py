"""The forms of webhooks and pass-through URLs."""

from flask_wtf import FlaskForm
from wtforms import SelectMultipleField, StringField
from wtforms.fields import SelectChoice
from wtforms.validators import DataRequired, Length

from connect_app.admin import outbound
from jobs import egress


class EndpointForm(FlaskForm):  # type: ignore[misc]  # WTForms has no types
    """An address, and what it is told of."""

    url = StringField(
        "Address",
        [DataRequired("Write an address."), Length(max=egress.LENGTH, message=f"At most {egress.LENGTH} characters.")],
        filters=[lambda text: (text or "").strip()],
    )
    topics = SelectMultipleField()

    def offer(self, kind: str) -> None:
        """Let the form's topics be those of this kind of endpoint. One that is none of them is refused."""
        found = outbound.types() if kind == "webhook" else list(outbound.CHOICES.items())
        self.topics.choices = [SelectChoice(value, value) for value, _ in found]
        self.topics.label.text = "Messages" if kind == "webhook" else "When"

    def check(self, kind: str) -> bool:
        """Whether what was typed can be looked at further."""
        is_right = bool(self.validate())
        if is_right and kind != "webhook" and not self.topics.data:
            self.topics.errors = ["Choose at least one."]
            return False
        return is_right
