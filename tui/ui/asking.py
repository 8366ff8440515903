"""From a key to a change on the server: what is meant is planned, confirmed, and only then handed over to be done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tui.control.plan import Plan, plan
from tui.control.plan_many import ManyPlan, Marked, plan_many
from tui.model.action import Action, ActionRecord
from tui.model.phrases import count
from tui.model.room import Room
from tui.ui.dialogs import ChooseAgentDialog, ConfirmDialog, SayDialog
from tui.ui.many_dialogs import ConfirmManyDialog

if TYPE_CHECKING:
    from tui.ui.app import Supervisor


class Asking:
    """Asks on the screen that is on top; every screen from which something can be done to a server has one."""

    def __init__(self, app: Supervisor, clock: Callable[[], float]) -> None:
        self._app = app
        self._clock = clock

    def ask(self, action: Action, room: Room, participant_sid: str | None, *, by_dispatch: bool = False) -> None:
        """Plan this action on exactly that, and have it confirmed; first what a dispatch or a word to an agent needs is
        asked for."""
        if action is Action.DISPATCH_AGENT:
            self._choose_agent(room)
        elif action is Action.SAY_TO_AGENT:
            self._choose_words(room, participant_sid)
        else:
            self._confirm(plan(action, room, participant_sid, self._clock(), by_dispatch=by_dispatch))

    def ask_many(self, action: Action, marked: Sequence[Marked], hidden: int, ordered: Callable[[], None]) -> None:
        """Plan this action on all of these, and have it confirmed; for a dispatch, choose the agent first.

        `hidden` of them are not on the screen. `ordered` is called once it has been confirmed.
        """

        def chosen(name: str | None) -> None:
            if name is not None:
                many = plan_many(action, marked, self._clock(), agent_name=name)
                self._confirm_many(many, hidden, ordered)

        if action is Action.DISPATCH_AGENT:
            rooms = list({room.sid: room for room, _ in marked}.values())
            names, likely = self._agent_names(rooms)
            self._app.push_screen(ChooseAgentDialog(count(len(rooms), "room"), names, likely), chosen)
        else:
            chosen("")

    def ask_offered(self, record: ActionRecord, action: Action | None) -> None:
        """What was offered at the end of an action was taken: plan it on whatever that action has left."""
        if action is None:
            return
        target = record.target
        rooms = self._app.main.newest.rooms
        room = rooms.get(record.came_back_sid) or rooms.get(target.room_sid)
        if room is None:
            self.say("That room is gone.")
            return
        # Whoever came back is another participant under the same identity.
        sid = (record.came_back_sid or target.participant_sid) if target.participant_sid else None
        self.ask(action, room, sid, by_dispatch=record.by_dispatch)

    def stop(self) -> None:
        """Stop what is running, between two steps."""
        stopped = self._app.stop_actions()
        words = f"Stopping {count(stopped, 'action')} after the current step." if stopped else "No action is running."
        self.say(words)

    def say(self, words: str, *, calm: bool = False) -> None:
        """Answer a key in a toast."""
        self._app.notify(words, severity="information" if calm else "warning", markup=False)

    def _choose_agent(self, room: Room) -> None:
        def chosen(name: str | None) -> None:
            if name is not None:
                self._confirm(plan(Action.DISPATCH_AGENT, room, None, self._clock(), agent_name=name))

        names, likely = self._agent_names([room])
        self._app.push_screen(ChooseAgentDialog(room.name.safe, names, likely), chosen)

    def _choose_words(self, room: Room, participant_sid: str | None) -> None:
        def chosen(text: str | None) -> None:
            if text is not None:
                self._confirm(plan(Action.SAY_TO_AGENT, room, participant_sid, self._clock(), text=text))

        agent = room.agent(participant_sid or "")
        self._app.push_screen(SayDialog(agent.name if agent is not None else "agent", room.name.safe), chosen)

    def _agent_names(self, rooms: Sequence[Room]) -> tuple[set[str], str]:
        """The raw agent names seen in this project, and the one that these rooms most likely need."""
        known = self._app.main.newest.rooms.values()
        seen = {dispatch.agent_name.raw for room in known for dispatch in room.dispatches or ()}
        dispatches = [dispatch for room in rooms for dispatch in room.dispatches or ()]
        own = [dispatch.agent_name.raw for dispatch in dispatches if not dispatch.jobs]
        own += [dispatch.agent_name.raw for dispatch in dispatches]
        return seen, next(iter(own), "")

    def _confirm(self, planned: Plan) -> None:
        def answered(action: Action | None) -> None:
            if action is None:
                return
            if action is planned.action:
                self._app.carry_out(planned)
                return
            room = self._app.main.newest.rooms.get(planned.target.room_sid)
            if room is None:
                self.say("That room is gone.")
                return
            self.ask(action, room, planned.target.participant_sid or None)

        newest = self._app.main.newest
        self._app.push_screen(ConfirmDialog(planned, self._app.where.project, newest, self._clock), answered)

    def _confirm_many(self, many: ManyPlan, hidden: int, ordered: Callable[[], None]) -> None:
        def answered(go: bool | None) -> None:  # noqa: FBT001 - a dialog's answer
            if go:
                ordered()
                self._app.carry_out_many(many)

        newest = self._app.main.newest
        dialog = ConfirmManyDialog(many, hidden, self._app.where.project, newest, self._clock)
        self._app.push_screen(dialog, answered)
