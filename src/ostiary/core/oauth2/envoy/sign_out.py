"""Sign-out: every cookie of ours ends, and the provider's session too where `end_session_endpoint` is set
(OpenID Connect RP-Initiated Logout 1.0 section 2).

The `id_token_hint` is the ID token of a session that we signed, expired or not. A bare cookie would let anyone put
parameters into the URL, or read an ID token that he only has in encrypted form.
"""

from __future__ import annotations

from ostiary.core.decision import Request, Respond
from ostiary.core.flights.note import Note, spelled
from ostiary.core.oauth2.envoy.context import Context, Keys
from ostiary.core.oauth2.envoy.cookies import RequestCookies
from ostiary.core.oauth2.envoy.session import read_session
from ostiary.core.oauth2.envoy.urls import query_encode, url_encode
from ostiary.core.regex import wire_text


def sign_out(context: Context, keys: Keys, request: Request, cookies: RequestCookies) -> Respond:
    """302 to the provider's end-session endpoint, or to the site's root."""
    names, writer = context.names, context.writer
    session = read_session(context, keys, cookies, request)
    for _ in range(session.cbc_reads):
        context.count.legacy_cbc_decrypt.inc()
    deletions = [
        writer.delete(name)
        for name in (names.oauth_hmac, names.bearer_token, names.id_token, names.refresh_token, names.oauth_expires)
    ]
    endpoint = wire_text(context.config.end_session_endpoint)
    if endpoint:
        hint = query_encode(session.id_token) if session.authentic else ""
        location = f"{endpoint}{'&' if '?' in endpoint else '?'}id_token_hint={hint}"
        location += f"&client_id={query_encode(context.client_id)}"
        if not context.config.post_logout_redirect_uri_disabled:
            location += f"&post_logout_redirect_uri={url_encode(context.after_logout(request))}"
    else:
        location = context.origin(request) + "/"
    return Respond(
        status=302,
        headers=(*deletions, *writer.delete_all_flows(cookies), ("location", location)),
        details="oauth.sign_out",
        note=Note(kind="sign-out", flight=spelled(context.entropy(5)), outcome="signed-out"),
    )
