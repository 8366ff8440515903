"""What is said in the demo's calls: a script for the agents of each name, which starts anew when it is through."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Tool:
    """A call that the agent makes before it answers; `fails` says that `result` is an error."""

    name: str
    result: str
    arguments: Mapping[str, object] = field(default_factory=dict)
    fails: bool = False

    @property
    def json(self) -> str:
        """The arguments as a model writes them."""
        return json.dumps(dict(self.arguments))


@dataclass(frozen=True, slots=True)
class Exchange:
    """The user says something, and the agent answers; `hands_over` to another agent afterwards. With `cut_off`, the
    user does not hear the answer out."""

    user: str
    agent: str
    tool: Tool | None = None
    hands_over: str = ""
    cut_off: bool = False


@dataclass(frozen=True, slots=True)
class Script:
    """Who speaks, as told to do what, and what is said."""

    agent_id: str
    instructions: str
    greeting: str
    exchanges: Sequence[Exchange]

    @property
    def tools(self) -> Sequence[str]:
        """The tools that are used in it."""
        return sorted({each.tool.name for each in self.exchanges if each.tool is not None})


_FRONTDESK = Script(
    "frontdesk",
    "You answer the phone of Velo Nord, a bicycle shop.\nBe kind and be short.\n"
    "Look orders up before you speak about them, and never promise a date that no tool has told you.",
    "Velo Nord, good morning! What can I do for you?",
    (
        Exchange("Hi, I'd like to know where my order is.", "With pleasure. What is its number?"),
        Exchange(
            "Seven seven one.",
            "Order 771 is packed and waits for the courier. It leaves the house this afternoon.",
            Tool("look_up_order", "packed, waits for the courier, due today 16:00", {"number": 771}),
        ),
        Exchange(
            "And could somebody bring it tomorrow, before nine?",
            "I am sorry, I can't see the couriers' times just now. May I try again in a moment?",
            Tool("find_courier", "TimeoutError: the couriers' service did not answer", {"before": "09:00"}, fails=True),
        ),
        Exchange(
            "Yes, please try again.",
            "There is one between eight and nine. Shall I book that for you? It would cost four euros more, and",
            Tool("find_courier", "one free: 08:00 to 09:00, 4.00 EUR", {"before": "09:00"}),
            cut_off=True,
        ),
        Exchange(
            "Yes, that's fine, book it.",
            "It is booked: tomorrow between eight and nine.",
            Tool("book_courier", "booked, reference VN-2291", {"order": 771, "slot": "08:00"}),
        ),
        Exchange("Can you text me that?", "I have sent it to the number you are calling from."),
        Exchange("One more thing: do you also repair old bikes?", "We do. Brakes and gears mostly take two days."),
    ),
)
_CLOSER = Script(
    "closer",
    "You help companies to choose a plan, and book a meeting with a person where they want one.\n"
    "Ask how many people would use it before you name a price.",
    "Hello, nice to see you! Are you looking for something for yourself or for a team?",
    (
        Exchange("For a team. We are about forty people.", "Then the team plan fits. Do you need single sign-on?"),
        Exchange(
            "We do, yes. What would that cost a month?",
            "For forty people with single sign-on it is 480 euros a month, or 4,800 a year.",
            Tool("price", "480 EUR a month; 4,800 EUR a year", {"people": 40, "sso": True}),
        ),
        Exchange(
            "Is the data kept in Europe? Our lawyers will ask, and they",
            "It is kept in Frankfurt only. For the contract itself, my colleague knows more than I do.",
            hands_over="contracts",
        ),
        Exchange("Right. Can we have the usual addendum signed?", "Yes, I can send it for signature today."),
        Exchange(
            "Please send it to legal at our address.",
            "It is on its way. You will find it in the inbox in a minute.",
            Tool("send_contract", "sent for signature", {"document": "addendum", "to": "legal"}),
        ),
        Exchange("And a meeting next week would be good.", "Tuesday at ten, or Thursday at three?"),
        Exchange(
            "Thursday.",
            "Thursday at three it is. I have invited you both.",
            Tool("book_meeting", "booked, 2 guests", {"day": "Thursday", "at": "15:00"}),
        ),
    ),
)
_INTAKE = Script(
    "intake",
    "You take the details of new patients for a practice. Give no medical advice.\nFor an emergency, say: call 112.",
    "Hello, this is the practice of Dr. Lind. I take your details before your first visit. Shall we begin?",
    (
        Exchange("Yes, go ahead.", "What is the reason for your visit?"),
        Exchange("My shoulder hurts when I lift my arm.", "Since when, and is it the left or the right one?"),
        Exchange("The right one, for about two weeks.", "Thank you. Did you have a fall, or an accident?"),
        Exchange(
            "No. Is it something bad, do you think?",
            "That is for the doctor to say. She has time on Monday at half past eight.",
            Tool("next_free", "Monday 08:30, Monday 11:15", {"doctor": "Lind"}),
        ),
        Exchange(
            "Half past eight is good.",
            "I have put you down for Monday, half past eight.",
            Tool("book_visit", "booked", {"doctor": "Lind", "at": "Monday 08:30"}),
        ),
        Exchange("Do I have to bring anything?", "Your insurance card, and earlier pictures if there are any."),
    ),
)
_BILLING = Script(
    "billing",
    "You explain bills. You may refund up to 50 euros without asking.",
    "Billing, hello. Which invoice is it about?",
    (
        Exchange(
            "Four four zero nine. I was charged twice.",
            "I see both of them, from the same minute. The second one was a mistake of ours.",
            Tool("find_invoice", "4409: 29.90 EUR, charged twice on the 3rd", {"number": 4409}),
        ),
        Exchange(
            "So do I get it back?",
            "Yes, 29.90 euros. It takes two to three days.",
            Tool("refund", "refunded 29.90 EUR", {"invoice": 4409, "amount": 29.9}),
        ),
        Exchange("Will I get that in writing?", "By e-mail, in a few minutes, to the address that we have."),
        Exchange("And next month, will it be right?", "It will. I have left a note on your account.", cut_off=True),
        Exchange("Good. Then one more question, about the tax.", "Go ahead, please."),
    ),
)

SCRIPTS: Mapping[str, Script] = {
    "frontdesk": _FRONTDESK,
    "closer": _CLOSER,
    "intake": _INTAKE,
    "billing": _BILLING,
}
"""By the name that the agents go by."""
INSTRUCTIONS = "You know the contracts and who may sign them."
"""Of those who are handed over to."""
