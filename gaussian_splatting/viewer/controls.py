"""What ties controls to actions: what fails is shown on the page, and what the program itself sets starts nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gaussian_splatting.errors import SplatError

if TYPE_CHECKING:
    from gaussian_splatting.viewer.session import Session


class Controls:
    """The actions behind the controls of one client."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._actions: dict[int, Callable[[], Any]] = {}

    def on_click(self, button: Any, action: Callable[[], Any]) -> None:
        """Act when the user presses a button."""
        button.on_click(self.guarded(action))

    def on_change(self, control: Any, action: Callable[[], Any]) -> None:
        """Act when the user changes the value of a control."""
        self._actions[id(control)] = action
        guarded = self.guarded(action)
        # What the program itself sets has no client; only what the user does is acted on.
        control.on_update(lambda event: guarded(event) if event.client_id is not None else None)

    def put(self, control: Any, value: Any) -> None:
        """Set a control as if the user had."""
        control.value = value
        self._actions[id(control)]()

    def guarded(self, action: Callable[[], Any]) -> Callable[[Any], None]:
        """The action as a callback of viser, whose errors the client is shown."""

        def act(event: Any) -> None:
            try:
                action()
            except Exception as error:  # the page must say what failed, and live on
                if not self._session.closed:
                    self.complain(error)

        return act

    def complain(self, error: Exception) -> None:
        """Show an error to this client."""
        text = str(error) if isinstance(error, SplatError) else f"{type(error).__name__}: {error}"
        self._session.client.add_notification("This did not work", text, color="red", auto_close_seconds=12.0)


def show(control: Any, value: Any, what: str = "value") -> None:
    """Set a property of a control, if it is another one: every message costs."""
    if getattr(control, what) != value:
        setattr(control, what, value)
