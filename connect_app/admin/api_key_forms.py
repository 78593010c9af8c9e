"""The form that an API key is made with."""

from flask_wtf import FlaskForm
from wtforms import HiddenField, StringField
from wtforms.validators import AnyOf, DataRequired, Length

from connect_app.modes import Mode
from connect_app.workspaces import api_keys


class ApiKeyForm(FlaskForm):  # type: ignore[misc]  # WTForms has no types
    """What uses the key, in the owner's words, and the mode it is for."""

    mode = HiddenField("Mode", [AnyOf([str(mode) for mode in Mode], "There is no such mode.")])
    name = StringField(
        "Name",
        [DataRequired("Say what will use it."), Length(max=api_keys.LONGEST_NAME, message=f"At most {api_keys.LONGEST_NAME} characters.")],
        filters=[lambda text: " ".join((text or "").split())],
    )
