"""What providers say before anybody signs in, in the words of their own documentation, and what is made of it."""

from __future__ import annotations

import base64
import json
from urllib.parse import urlencode

import pytest

from ostiary.core.decision import Fetched
from ostiary.doctor.case import Case
from ostiary.doctor.diagnose import diagnose
from ostiary.doctor.facts.provider import RedirectUriAnswer
from ostiary.doctor.probes.answers import Asked, authorization_answer, body_of, clock_offset, token_answer
from ostiary.doctor.rules import all_rules
from ostiary.model.headers import Headers
from ostiary.model.secret import Secret

CALLBACK = "https://app.example.com/.ostiary/callback"
AUTHORIZE = "https://login.example/authorize"
TOKEN = "https://login.example/token"


def answer(status: int, body: str = "", **headers: str) -> Fetched:
    return Fetched(status=status, headers=Headers(headers.items()), body=body.encode(), now=1_800_000_000.0)


def to(location: str, **params: str) -> Fetched:
    """A redirect."""
    return answer(302, location=f"{location}?{urlencode(params)}" if params else location)


def page(text: str) -> str:
    return (
        f"<!doctype html><html><head><title>Error</title></head><body><p class='instruction'>{text}</p></body></html>"
    )


def entra(code: str, text: str) -> str:
    """The page holds its message twice: for people, and as a string of JavaScript."""
    script = json.dumps({"iErrorCode": 50011, "strServiceExceptionMessage": f"{code}: {text}"}).replace("'", "\\u0027")
    return f"<html><head><script>$Config={script};</script></head><body></body></html>"


def google(error: str) -> str:
    """`authError` is a message of protocol buffers: the error's name, and what people read."""
    said = b"\n" + bytes([len(error)]) + error.encode() + b"\x12\x20You can't sign in to this app because ..."
    return "https://accounts.google.com/signin/oauth/error?" + urlencode(
        {"authError": base64.urlsafe_b64encode(said).decode().rstrip("="), "client_id": "app"}
    )


def rules_of(given: Fetched) -> list[str]:
    return [each.rule for each in diagnose(Case(authorization_answer(AUTHORIZE, CALLBACK, given)), all_rules())]


NOT_REGISTERED = (
    "The redirect URI 'https://app.example.com/.ostiary/callback' specified in the request does not match the redirect "
    "URIs configured for the application 'app'. Make sure the redirect URI sent in the request matches one added to "
    "your application in the Azure portal."
)


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        (answer(200, entra("AADSTS50011", NOT_REGISTERED)), "redirect-uri-mismatch"),
        (answer(200, entra("AADSTS700016", "Application with identifier 'app' was not found in the directory "
                           "'Contoso'.")), "client-rejected"),
        (answer(400, entra("AADSTS90002", "Tenant 'contoso' not found.")), "client-rejected"),
        (to(CALLBACK, error="invalid_client", error_description="AADSTS650053: The application 'app' asked for scope "
            "'user' that doesn't exist on the resource"), "scope-rejected"),
        (to(CALLBACK, error="invalid_request", error_description="AADSTS65001: The user or administrator has not "
            "consented to use the application"), "consent-required"),
        (answer(400, page("Invalid parameter: redirect_uri")), "redirect-uri-mismatch"),
        (answer(400, page("Client not found.")), "client-rejected"),
        (to(CALLBACK, error="invalid_scope", error_description="Invalid scopes: user"), "scope-rejected"),
        (to(google("redirect_uri_mismatch")), "redirect-uri-mismatch"),
        (to(google("deleted_client")), "client-rejected"),
        (to(google("invalid_scope")), "scope-rejected"),
        (answer(403, page("Callback URL mismatch.<br>The provided redirect_uri is not in the list of allowed callback "
                          "URLs.")), "redirect-uri-mismatch"),
        (answer(400, page("Unknown client: app")), "client-rejected"),
        (answer(400, page("Your request resulted in an error. The &#39;redirect_uri&#39; parameter must be a Login "
                          "redirect URI in the client app settings")), "redirect-uri-mismatch"),
        (answer(400, page("Invalid value for &#39;client_id&#39; parameter.")), "client-rejected"),
        (to(CALLBACK, error="invalid_scope", error_description="One or more scopes are not configured for the "
            "authorization server resource."), "scope-rejected"),
        (to("https://pool.auth.eu-west-1.amazoncognito.com/error", error="redirect_mismatch", client_id="app"),
         "redirect-uri-mismatch"),
        (answer(200, page("The redirect URI included is not valid.")), "redirect-uri-mismatch"),
        (answer(404, page("Nothing here")), None),
        (answer(503, page("Down")), "idp-server-error"),
    ],
)  # fmt: skip
def test_what_a_provider_refuses_before_anybody_signs_in(given: Fetched, rule: str | None) -> None:
    assert rules_of(given)[:1] == ([rule] if rule is not None else [])


@pytest.mark.parametrize(
    "given",
    [
        to(CALLBACK, error="login_required", state="s"),
        to(CALLBACK, error="interaction_required", error_description="AADSTS50058: A silent sign-in request was sent"),
        to(CALLBACK, error="login_required", error_description="The client specified not to prompt, but the user is "
           "not logged in."),
    ],
)  # fmt: skip
def test_a_browser_that_is_sent_back_shows_that_client_and_redirect_uri_are_known(given: Fetched) -> None:
    (fact,) = authorization_answer(AUTHORIZE, CALLBACK, given)
    assert isinstance(fact, RedirectUriAnswer)
    assert fact.accepted is True
    assert rules_of(given) == []


@pytest.mark.parametrize(
    "given",
    [
        answer(200, page("Sign in to Contoso")),
        to("https://login.example/login", return_to="/authorize"),
        answer(200, "<html><script>var messages={}</script>Sign in. Error texts: none.</html>"),
        answer(200, "\x00\xff\xfe" * 100),
        answer(302, location="http://[broken"),
        answer(302, location="https://accounts.google.com/signin/oauth/error?authError=%%%"),
    ],
)
def test_who_does_not_tell_before_somebody_signs_in_is_not_accused(given: Fetched) -> None:
    assert rules_of(given) == []


@pytest.mark.parametrize(
    ("error", "description", "proved", "rule"),
    [
        ("invalid_grant", "AADSTS9002313: Invalid request. Request is malformed or invalid.", True, None),
        ("invalid_grant", "Malformed auth code.", True, None),
        ("bad_verification_code", "The code passed is incorrect or expired.", True, None),
        ("invalid_client", "AADSTS7000215: Invalid client secret provided.", True, "client-rejected"),
        ("invalid_client", "AADSTS7000222: The provided client secret keys are expired.", True, "client-rejected"),
        ("incorrect_client_credentials", "The client_id and/or client_secret passed are incorrect.", True,
         "client-rejected"),
        ("unauthorized_client", "Invalid client or Invalid client credentials", True, "client-rejected"),
        ("access_denied", "Unauthorized", True, "client-rejected"),
        ("redirect_uri_mismatch", "Bad Request", True, "redirect-uri-mismatch"),
        ("invalid_client", "AADSTS7000218: The request body must contain client_assertion or client_secret", False,
         None),
        ("unauthorized_client", "AADSTS700016: Application with identifier 'x' was not found", False,
         "client-rejected"),
        ("invalid_client", "Client authentication failed", False, None),
        ("invalid_request", "code_verifier is not needed", True, None),
    ],
)  # fmt: skip
def test_what_a_token_endpoint_says_to_an_invented_code(
    error: str, description: str, proved: bool, rule: str | None
) -> None:
    body = json.dumps({"error": error, "error_description": description})
    status = 401 if error == "access_denied" else 400
    fact = token_answer(Asked(url=TOKEN, proved=proved), answer(status, body))
    assert [each.rule for each in diagnose(Case([fact]), all_rules())] == ([rule] if rule is not None else [])


def test_github_answers_in_a_form_with_status_200() -> None:
    told = answer(200, "error=incorrect_client_credentials&error_description=The+client_id+is+incorrect.")
    assert token_answer(Asked(url=TOKEN, proved=True), told).error == "incorrect_client_credentials"


def test_a_secret_that_a_provider_repeats_is_not_repeated() -> None:
    body = json.dumps({"error": "invalid_client", "error_description": "wrong secret hunter2-and-more"})
    fact = token_answer(Asked(url=TOKEN, secret=Secret("hunter2-and-more"), proved=True), answer(401, body))
    assert "hunter2" not in f"{fact}"
    assert "[secret]" in fact.description


@pytest.mark.parametrize(
    ("date", "age", "offset"),
    [
        ("Fri, 15 Jan 2027 08:00:00 GMT", "", 0.0),
        ("Fri, 15 Jan 2027 07:55:00 GMT", "", 300.0),
        ("Fri, 15 Jan 2027 07:55:00 GMT", "300", 0.0),
        ("Fri, 15 Jan 2027 09:00:00 GMT", "", -3600.0),
    ],
)
def test_clocks(date: str, age: str, offset: float) -> None:
    found = clock_offset(TOKEN, answer(200, date=date, age=age))
    assert found is not None
    assert found.seconds == offset


@pytest.mark.parametrize("date", ["", "yesterday", "Fri, 99 Jan 2027 07:55:00 GMT"])
def test_no_date_is_no_offset(date: str) -> None:
    assert clock_offset(TOKEN, answer(200, date=date)) is None


@pytest.mark.parametrize(
    ("body", "kind"),
    [("", "empty"), (' {"a": 1}', "json"), ("{broken", "text"), ("<!DOCTYPE html>", "html"), ("hello", "text"),
     ("[" * 100_000, "text")],
)  # fmt: skip
def test_a_body_is_what_it_looks_like(body: str, kind: str) -> None:
    assert body_of(answer(200, body)) == kind
