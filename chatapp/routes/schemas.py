"""What the browser's routes accept, the same for forms and JSON. Unknown fields are ignored."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from chatapp.services.replies import Question

# What forms and scripts send for yes and no; an empty field is a box without its tick.
_WORDS = {"1": True, "on": True, "true": True, "": False, "0": False, "off": False, "false": False}


class Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class RegisterBody(Body):
    username: str = ""
    password: str = ""
    confirm: str | None = None
    setup_code: str = ""


class LoginBody(Body):
    username: str = ""
    password: str = ""
    next: str = ""


class Options(Body):
    """Ollama's own names and meanings; a value outside these bounds is refused before Ollama sees it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: Annotated[float, Field(ge=0, le=5, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    top_k: Annotated[int, Field(ge=0, le=10_000)] | None = None
    seed: Annotated[int, Field(ge=-(2**31), le=2**31 - 1)] | None = None
    num_predict: Annotated[int, Field(ge=-2, le=1_000_000)] | None = None
    num_ctx: Annotated[int, Field(ge=128, le=2_000_000)] | None = None
    repeat_penalty: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] | None = None
    stop: Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=16)] | None = None

    def given(self) -> dict[str, Any]:
        """Return only what was set."""
        return self.model_dump(exclude_none=True)


class _Asking(Body):
    """What goes with a question. An empty field of a form means that it was not given."""

    model: str | None = None
    message_id: str | None = None
    parent_id: str | None = None
    options: Options | None = None
    role: str | None = None
    attachments: list[str] = []

    @field_validator("role")
    @classmethod
    def _only_ones_own(cls, role: str | None) -> str | None:
        if role not in (None, "user"):
            raise ValueError("You can only speak as user.")
        return role

    @field_validator("attachments")
    @classmethod
    def _none_yet(cls, attachments: list[str]) -> list[str]:
        if attachments:
            raise ValueError("This server takes no attachments yet. Paste the text into the message.")
        return attachments

    def question_of(self, content: str) -> Question:
        """Return the question as the service takes it."""
        return Question(
            content=content,
            model=self.model or None,
            message_id=self.message_id or None,
            parent_id=self.parent_id or None,
            options=self.options.given() if self.options else {},
        )


class MessageBody(_Asking):
    content: str = ""


class ChatBody(_Asking):
    """A chat may begin without a question."""

    content: str | None = None
    title: str | None = None


class RegenerateBody(Body):
    message_id: str | None = None
    model: str | None = None


class RenameBody(Body):
    title: str = ""


class PullBody(Body):
    name: str = ""


class SettingsBody(Body):
    section: str = "appearance"
    theme: str | None = None
    default_model: str | None = None
    current: str = ""
    password: str = ""
    confirm: str | None = None


class SessionBody(Body):
    session: str = ""


def _from_form(value: Any) -> Any:
    """Return a form's words for yes and no as booleans; anything else as it is, to be judged."""
    return _WORDS.get(value, value) if isinstance(value, str) else value


class UserBody(Body):
    may_manage_models: Annotated[bool, BeforeValidator(_from_form)] = False
