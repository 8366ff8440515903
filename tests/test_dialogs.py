"""The dialogs: what they say, that their target is frozen, and that nothing happens by mistake."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.build import NOW, agent, dispatch, person, room, snapshot
from tests.dashboard import Clock, Dashboard, on_pictures, served
from tui.control.plan import Plan
from tui.model.action import INSIDE, Action, ActionRecord, Outcome, Step, Target
from tui.model.room import SessionState
from tui.model.snapshot import Snapshot
from tui.model.text import Name
from tui.ui.commands import BY_ACTION
from tui.ui.dialogs import ChooseAgentDialog, StoryDialog

CONFIRMED = [action for action in Action if action not in (*INSIDE, Action.DISPATCH_AGENT)]
ON_AN_AGENT = (Action.CLOSE_SESSION, Action.SHUT_DOWN_JOB, Action.KICK)


def rooms(*names: str, number: int = 1) -> Snapshot:
    return snapshot(*(served(name) for name in names), number=number)


def plain_room(name: str = "bill") -> Snapshot:
    """A room whose agent has no helper, and shares its dispatch with another one elsewhere."""
    order = dispatch("billing", "agent-1", "agent-2", id="AD_bill")
    return snapshot(room(name, person("ann"), agent("agent-1", state="listening"), dispatches=(order,)))


class Carried:
    """What was confirmed, instead of its being carried out."""

    def __init__(self, shown: Dashboard, patch: pytest.MonkeyPatch) -> None:
        self.plans: list[Plan] = []
        patch.setattr(shown.app, "carry_out", self.plans.append)


# What is said


@pytest.mark.parametrize(
    ("action", "said"),
    [
        (Action.CLOSE_SESSION, ["frontdesk closes its session", "The agent and its job stay.", "1 person stays"]),
        (Action.SHUT_DOWN_JOB, ["frontdesk shuts its job down and leaves the room.", "will be without an agent"]),
        (Action.KICK, ["frontdesk will be disconnected", "does not come back by itself"]),
        (Action.DELETE_ROOM, ["1 person and 1 agent will be disconnected.", "ends without a goodbye"]),
        (Action.TEAR_DOWN, ["frontdesk's session is closed; its job is shut down.", "will be disconnected."]),
    ],
)
async def test_a_confirmation_names_its_target_and_says_what_happens_to_whom(action: Action, said: list[str]) -> None:
    clock = Clock()
    async with on_pictures(rooms("alpha", "bravo"), clock=clock) as shown:
        await shown.press("j", "enter", "G")
        clock.now += 3
        await shown.ask(BY_ACTION[action].keys)
        assert f"╭─ {action.value.capitalize()} ─" in shown.text
        target = "bravo RM_bravo acme" + (" agent-bravo PA_agent-bravo" if action in ON_AN_AGENT else "")
        assert shown.said.startswith(target)
        for words in (*said, "As seen 3s ago; checked again before anything is sent."):
            assert words in shown.said
        assert str(shown.button("confirm").label) == action.value.capitalize()


async def test_a_name_that_had_to_be_changed_is_pointed_out() -> None:
    async with on_pictures(snapshot(room("sales\u202e88-lacituped", person("ann"), sid="RM_odd"))) as shown:
        await shown.ask("D")
        assert shown.said.startswith("sales\\u202e88-lacituped RM_odd acme")
        assert "⚑ a name here holds characters that can't be shown" in shown.said
        shown.assert_harmless()


async def test_the_age_of_what_was_seen_goes_on() -> None:
    clock = Clock()
    async with on_pictures(rooms("alpha"), clock=clock) as shown:
        await shown.ask("D")
        clock.now += 41
        await shown.wait_for("As seen 41s ago")


async def test_a_room_that_was_never_read_says_so() -> None:
    async with on_pictures(snapshot(room("alpha", participants=None, checked_at=None))) as shown:
        await shown.ask("D")
        assert "Everyone in it will be disconnected." in shown.text
        assert "have not been read yet" in shown.text
        await shown.press("escape")
        await shown.ask("c")
        assert "Who is in the room is not known yet" in shown.text


async def test_no_toast_covers_what_is_asked() -> None:
    async with on_pictures(rooms("alpha"), size=(100, 30)) as shown:
        for number in range(1, 6):
            await shown.tell(replace(record(Action.KICK, Outcome.FAILED), id=number))
        assert len(shown.toasts) == 5
        await shown.ask("D")
        told = "alpha RM_alpha acme 1 person and 1 agent will be disconnected. The room is gone after. ▲ frontdesk's"
        await shown.pilot.pause()
        assert shown.said.startswith(told)
        assert shown.said.endswith("Cancel Delete room")
        await shown.press("escape")
        await shown.wait_for("kick ann in alpha")


# Nothing happens by mistake


@pytest.mark.parametrize("keys", [["enter"], ["escape"], ["q"], ["right", "left", "enter"]])
async def test_cancel_comes_first_and_escape_cancels(keys: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    async with on_pictures(rooms("alpha")) as shown:
        carried = Carried(shown, monkeypatch)
        await shown.press("enter", "G")
        for action in CONFIRMED:
            await shown.ask(BY_ACTION[action].keys)
            assert shown.focused == "cancel"
            await shown.press(*keys)
            assert shown.screen is shown.main
        assert carried.plans == []


async def test_no_action_key_reaches_through_a_dialog() -> None:
    async with on_pictures(rooms("alpha")) as shown:
        dialog = await shown.ask("D")
        await shown.press("c", "x", "K", "D", "T", "a", "S", "s", "p", "slash")
        assert shown.screen is dialog
        assert shown.app.screen_stack == [shown.main, dialog]


async def test_what_was_confirmed_is_carried_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with on_pictures(rooms("alpha")) as shown:
        carried = Carried(shown, monkeypatch)
        dialog = await shown.confirm("D")
        await shown.press("enter", "enter")
        assert carried.plans == [dialog.plan]


# The target is frozen


async def test_the_target_stays_while_the_picture_changes_underneath(monkeypatch: pytest.MonkeyPatch) -> None:
    async with on_pictures(rooms("alpha", "bravo")) as shown:
        carried = Carried(shown, monkeypatch)
        await shown.press("j")
        await shown.ask("D")
        waiting = room("aaa", person("bob"), dispatches=())
        await shown.show(snapshot(waiting, served("alpha", created_at=NOW), served("bravo"), number=2))
        assert "bravo  RM_bravo" in shown.text
        await shown.press("right", "enter")
        (plan,) = carried.plans
        assert (plan.action, plan.target.room_sid) == (Action.DELETE_ROOM, "RM_bravo")


@pytest.mark.parametrize("after", [rooms("alpha"), snapshot(served("alpha"), served("bravo", sid="RM_another"))])
async def test_a_target_that_is_gone_can_not_be_confirmed(after: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    async with on_pictures(rooms("alpha", "bravo")) as shown:
        carried = Carried(shown, monkeypatch)
        await shown.press("j")
        await shown.ask("D")
        await shown.press("right")
        assert shown.focused == "confirm"
        await shown.show(after)
        assert "This room is gone. Nothing will be sent." in shown.text
        assert shown.button("confirm").disabled
        await shown.pilot.click("#confirm")
        await shown.press("right", "enter", "escape")
        assert carried.plans == []


async def test_a_participant_who_is_gone_can_not_be_kicked_and_their_next_connection_neither() -> None:
    async with on_pictures(rooms("alpha")) as shown:
        await shown.press("enter")
        await shown.ask("K")
        again = room("alpha", person("ann", sid="PA_again"), agent("agent-alpha"))
        await shown.show(snapshot(again, number=2))
        assert "This participant is gone. Nothing will be sent." in shown.text
        assert shown.button("confirm").disabled


async def test_a_picture_that_could_not_be_renewed_takes_no_target_away() -> None:
    async with on_pictures(rooms("alpha")) as shown:
        await shown.ask("D")
        unread = served("alpha", participants=None)
        await shown.show(snapshot(unread, number=2))
        assert not shown.button("confirm").disabled


# Blocked, and offers


async def test_what_can_not_be_done_has_nothing_to_confirm() -> None:
    async with on_pictures(rooms("alpha")) as shown:
        await shown.ask("K")
        assert "Select the participant to kick." in shown.text
        assert not shown.screen.query("#confirm")
        assert str(shown.button("cancel").label) == "Close"


async def test_without_the_helper_shutting_down_is_offered_and_names_all_jobs_it_ends() -> None:
    async with on_pictures(plain_room()) as shown:
        first = await shown.ask("c")
        assert "does not show that it runs the lk-tui helper" in shown.text
        await shown.press("right", "right", "enter")
        await shown.asked(after=first)
        assert shown.dialog.plan.action is Action.SHUT_DOWN_JOB
        assert "The dispatch AD_bill is deleted, which ends all its 2 jobs" in shown.said
        assert "1 other job of this dispatch will end too" in shown.said


async def test_an_offer_is_taken_on_the_same_target_wherever_the_selection_has_gone() -> None:
    ended = agent("agent-bravo", name="frontdesk", helper="1", session=SessionState.CLOSED)
    picture = snapshot(room("bravo", person("ann"), ended), served("alpha"))
    async with on_pictures(picture) as shown:
        await shown.select("bravo")
        first = await shown.ask("c")
        assert "session is closed already" in shown.text
        await shown.press("right", "enter")
        plan = (await shown.asked(after=first)).plan
        assert (plan.action, plan.target.participant_sid) == (Action.SHUT_DOWN_JOB, "PA_agent-bravo")


async def test_where_no_agent_is_the_one_to_dispatch_is_chosen() -> None:
    order = dispatch("closer", id="AD_1")
    async with on_pictures(snapshot(room("alpha", person("bob"), dispatches=(order,)))) as shown:
        await shown.ask("c")
        assert "There is no agent in this room." in shown.text
        await shown.press("right", "enter")
        await shown.wait_for(lambda: isinstance(shown.screen, ChooseAgentDialog))
        await shown.press("enter")
        await shown.asked()
        assert (shown.dialog.plan.action, shown.dialog.plan.agent_name) == (Action.DISPATCH_AGENT, "closer")


# Choosing an agent


async def test_the_agent_names_of_the_project_are_offered_the_likeliest_first() -> None:
    orders = snapshot(
        room("alpha", person("bob"), dispatches=(dispatch("closer", id="AD_1"),)),
        room("bravo", agent("agent-2"), dispatches=(dispatch("billing", "agent-2", id="AD_2"),)),
    )
    async with on_pictures(orders) as shown:
        await shown.press("a")
        assert isinstance(shown.screen, ChooseAgentDialog)
        for words in ("Into alpha", "(automatic: any worker without an agent name)", "billing", "closer"):
            assert words in shown.text
        await shown.press("enter")
        await shown.asked()
        assert shown.dialog.plan.agent_name == "closer"
        assert "A worker named closer is asked to send an agent into the room." in shown.text


async def test_another_agent_name_can_be_typed() -> None:
    async with on_pictures(rooms("alpha")) as shown:
        await shown.press("a", "tab")
        await shown.type("night-shift")
        await shown.press("enter")
        await shown.asked()
        assert shown.dialog.plan.agent_name == "night-shift"


async def test_choosing_no_agent_dispatches_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async with on_pictures(rooms("alpha")) as shown:
        carried = Carried(shown, monkeypatch)
        await shown.press("a", "tab", "enter", "escape")
        assert shown.screen is shown.main
        assert carried.plans == []


# The story of an action


def record(action: Action, outcome: Outcome, **more: object) -> ActionRecord:
    target = Target(Name.of("alpha"), "RM_alpha", Name.of("ann"), "PA_ann_alpha")
    steps = (Step(NOW, "requested"), Step(NOW + 1.0, "RemoveParticipant answered OK in 4 ms"), Step(NOW + 4, "the end"))
    return ActionRecord(1, action, target, "mira", NOW, steps, outcome, sent=True, **more)  # type: ignore[arg-type]


async def open_story(shown: Dashboard, told: ActionRecord) -> None:
    """Have this action end, and open its line in the log."""
    await shown.tell(told)
    await shown.press("shift+tab", "G", "enter")
    await shown.wait_for(lambda: isinstance(shown.screen, StoryDialog) and shown.focused == "cancel")


async def test_the_end_of_an_action_is_said_and_its_story_is_in_the_log() -> None:
    async with on_pictures(rooms("alpha")) as shown:
        await open_story(shown, record(Action.KICK, Outcome.CONFIRMED))
        assert shown.toasts == ["kick ann in alpha\n✓ the end"]
        for words in ("kick ann in alpha: confirmed", "+1s RemoveParticipant answered OK in 4 ms", "+4s the end"):
            await shown.wait_for_words(words)


async def test_after_a_kick_whoever_came_back_can_be_kicked_again() -> None:
    back = snapshot(room("alpha", person("ann", sid="PA_again"), agent("agent-alpha")), number=2)
    told = record(Action.KICK, Outcome.CAME_BACK, offers=(Action.KICK,), came_back_sid="PA_again")
    async with on_pictures(rooms("alpha"), back) as shown:
        await open_story(shown, told)
        assert "Offered instead: K kick" in shown.toasts[0]
        await shown.press("tab", "enter")
        await shown.asked()
        assert shown.dialog.plan.target.participant_sid == "PA_again"
        assert not shown.dialog.plan.blocked


async def test_after_a_delete_the_room_that_came_back_can_be_deleted() -> None:
    told = record(Action.DELETE_ROOM, Outcome.CAME_BACK, offers=(Action.DELETE_ROOM,), came_back_sid="RM_back")
    async with on_pictures(snapshot(room("alpha", sid="RM_back"))) as shown:
        await open_story(shown, told)
        await shown.press("tab", "enter")
        await shown.asked()
        assert shown.dialog.plan.target.room_sid == "RM_back"
        assert not shown.dialog.plan.blocked


async def test_nothing_is_offered_on_a_room_that_is_gone() -> None:
    told = record(Action.SHUT_DOWN_JOB, Outcome.UNKNOWN, offers=(Action.KICK,))
    async with on_pictures(snapshot()) as shown:
        await open_story(shown, told)
        await shown.press("tab", "enter")
        assert shown.screen is shown.main
        assert shown.toasts[-1] == "That room is gone."


# In view


@pytest.mark.parametrize(
    ("action", "size"), [(Action.KICK, (80, 24)), (Action.TEAR_DOWN, (80, 24)), (Action.DELETE_ROOM, (60, 15))]
)
async def test_however_long_the_names_the_buttons_are_in_view_and_the_rest_can_be_scrolled_to(
    action: Action, size: tuple[int, int]
) -> None:
    long = "x" * 250
    serving = agent("y" * 250, name="z" * 250, helper="1", session=SessionState.OPEN, sid="PA_agent", joined=1.0)
    async with on_pictures(snapshot(room(long, person(), serving, sid="RM_long")), size=size) as shown:
        await shown.press("enter", "G")
        await shown.ask(BY_ACTION[action].keys)
        for id_ in ("cancel", "confirm"):
            assert shown.main.region.contains_region(shown.button(id_).region)
        assert f" {action.value.capitalize()} " in "".join(shown.lines[-6:])
        assert "checked again" not in shown.text
        await shown.press(*["down"] * 20)
        assert "checked again" in shown.text
        shown.assert_harmless()
