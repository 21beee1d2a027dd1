"""The native filter, from the first redirect to the last sign-out, against the demo provider."""

from __future__ import annotations

from signin_world import Browser, World, location, sent

from ostiary.core.decision import Allow, Respond


def test_a_browser_signs_in_and_reaches_the_application_as_someone() -> None:
    world = World()
    browser = Browser(world)
    done = browser.sign_in("/reports?month=5")
    assert (done.status, location(done)) == (302, "/reports?month=5")
    answer = browser.get("/reports?month=5")
    assert sent(answer) == {
        "x-forwarded-user": "ada",
        "x-forwarded-email": "ada@example.com",
        "x-forwarded-preferred-username": "ada",
        "x-forwarded-groups": "staff,engineers",
    }
    assert isinstance(answer, Allow) and answer.via == "session" and answer.user == "ada@example.com"
    assert list(browser.cookies) == ["__Host-ostiary"]
