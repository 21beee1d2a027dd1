"""The demo provider in the costumes of those that Ostiary knows by name: their addresses, claims, errors and gaps.

Each says what its original says, as its documentation writes it; what isn't written here is the demo provider's own
strictness (PKCE, codes and refresh tokens good for one use).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

from ostiary.testing.provider import ADA, BOB, DemoClient, DemoProvider, DemoUser, Refused
from ostiary.testing.provider_server import Reply

SECRET = "a secret of ~40 chars, with + / = % in it"


class Costume(DemoProvider):
    """`endpoints` are the discovery document's, `told` what it says besides; `seen` is every request, in order."""

    issuer_url: str
    endpoints: Mapping[str, str]
    told: ClassVar[dict[str, Any]] = {}
    more_hosts: tuple[str, ...] = ()
    refreshes = True
    """Whether there is a refresh token without asking for one."""

    def __init__(self, client_id: str) -> None:
        client = DemoClient(
            client_id=client_id,
            client_secret=SECRET,
            redirect_uris=("https://app.example.com/.ostiary/callback", "https://app.example.com/"),
        )
        super().__init__(issuer=self.issuer_url, users=(ADA, BOB), clients=(client,), algorithm="RS256")
        self.client_id = client_id
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.expires_in: float = 3600
        self.claims: dict[str, dict[str, Any]] = {}
        """What is different about a user, by name."""
        self.faults.no_iss_parameter = True

    @property
    def names(self) -> set[str]:
        """Every host name it has."""
        urls = (self.issuer_url, *self.endpoints.values())
        return {urlsplit(url).hostname or "" for url in urls} | set(self.more_hosts)

    def endpoint_at(self, host: str, path: str) -> str:
        found = {url: name for name, url in self.endpoints.items()}.get(f"https://{host}{path}", "")
        short = {"authorization": "authorize", "revocation": "revoke", "jwks_uri": "jwks"}
        name = found.removesuffix("_endpoint")
        if f"https://{host}{path}" == f"{self.issuer_url.removesuffix('/')}/.well-known/openid-configuration":
            return "/.well-known/openid-configuration"
        return f"/{short.get(name, name)}" if name else f"{host}{path}"

    def answer(
        self, method: str, endpoint: str, query: Mapping[str, str], form: Mapping[str, str], headers: Mapping[str, str]
    ) -> Reply:
        self.seen.append((endpoint, {**query, **form}))
        return super().answer(method, endpoint, query, form, headers)

    def discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer_url,
            **self.endpoints,
            "response_types_supported": ["code"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
            **self.told,
        }

    def last(self, endpoint: str) -> dict[str, str]:
        """The parameters of the last request to an endpoint."""
        return next(params for name, params in reversed(self.seen) if name == endpoint)

    def count(self, endpoint: str) -> int:
        return sum(name == endpoint for name, _ in self.seen)

    def _tokens(self, family: Any, *, with_nonce: bool) -> Reply:
        # The tokens of the original, with the lifetime and the refresh token that it would give.
        document = json.loads(super()._tokens(family, with_nonce=with_nonce).body)
        document["expires_in"] = self.expires_in
        if not (self.refreshes or "offline_access" in family.scope.split()):
            del document["refresh_token"]
        return Reply.json(self.token_document(document, family.user))

    def token_document(self, document: dict[str, Any], user: DemoUser) -> dict[str, Any]:
        return document


# --- Entra ID

TENANT = "0f4d2a10-6c3b-4f0e-9a53-7d1c0e8b6a21"
OTHER_TENANT = "99999999-aaaa-bbbb-cccc-dddddddddddd"
CONSUMERS = "9188040d-6c67-4c5b-b112-36a304b66dad"
STAFF = "5b2f9d1e-0000-4000-8000-000000000001"


class Entra(Costume):
    """One directory by its domain; `asked` is the tenant of the configuration, `named` the one in the document."""

    asked = "contoso.onmicrosoft.com"
    named = TENANT
    host = "login.microsoftonline.com"
    graph = "graph.microsoft.com"
    sts = ""
    refreshes = False

    def __init__(self, client_id: str) -> None:
        version = "" if self.sts else "v2.0/"
        base, suffix = f"https://{self.host}/{self.asked}", "/v2.0" if version else ""
        self.issuer_url = f"{base}{suffix}"
        self.endpoints = {
            "authorization_endpoint": f"{base}/oauth2/{version}authorize",
            "token_endpoint": f"{base}/oauth2/{version}token",
            "jwks_uri": f"{base}/discovery/{version}keys",
            "userinfo_endpoint": f"https://{self.graph}/oidc/userinfo",
            "end_session_endpoint": f"{base}/oauth2/{version}logout",
        }
        self.more_hosts = (self.graph,)
        super().__init__(client_id)
        self.overage = False
        self.groups = [STAFF]
        self.graph_status = 200
        self.assertion = ""
        """The only client assertion that is taken, if there is one."""
        self.certificate: tuple[bytes, bytes] = (b"", b"")
        """The client's public key (PEM) and its certificate (DER)."""

    def token_issuer(self, tenant: str) -> str:
        return f"https://{self.sts}/{tenant}/" if self.sts else f"https://{self.host}/{tenant}/v2.0"

    def discovery(self) -> dict[str, Any]:
        return {**super().discovery(), "issuer": self.token_issuer(self.named), "msgraph_host": self.graph}

    def profile(self, user: DemoUser, scopes: Sequence[str]) -> dict[str, Any]:
        own = self.claims.get(user.username, {})
        tenant = own.get("tid", TENANT)
        name = f"{user.username}@contoso.com"
        claims = {
            "iss": self.token_issuer(tenant),
            "tid": tenant,
            "oid": f"{user.username}-object-id",
            "sub": f"{user.username}-pairwise",
            "name": user.name,
            "ver": "1.0" if self.sts else "2.0",
        }
        claims |= {"upn": name, "unique_name": name} if self.sts else {"preferred_username": name}
        if self.overage:
            source = f"https://graph.windows.net/{tenant}/users/{claims['oid']}/getMemberObjects"
            claims |= {"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": source}}}
        elif user is ADA:
            claims["groups"] = [STAFF, "5b2f9d1e-0000-4000-8000-000000000002"]
        return {**claims, **own}

    def userinfo(self, user: DemoUser, scopes: Sequence[str]) -> Reply:
        return Reply.json({"sub": f"{user.username}-pairwise", "name": user.name})

    def answer(
        self, method: str, endpoint: str, query: Mapping[str, str], form: Mapping[str, str], headers: Mapping[str, str]
    ) -> Reply:
        if endpoint != f"{self.graph}/v1.0/me/transitiveMemberOf":
            return super().answer(method, endpoint, query, form, headers)
        self.seen.append(("/graph", dict(query)))
        if self.graph_status != 200 or not headers.get("authorization", "").startswith("Bearer "):
            error = {"code": "Authorization_RequestDenied", "message": "Insufficient privileges"}
            return Reply.json({"error": error}, status=self.graph_status)
        start = int(query.get("$skiptoken", "0"))
        page: dict[str, Any] = {
            "value": [{"@odata.type": "#microsoft.graph.group", "id": g} for g in self.groups[start : start + 999]]
        }
        if start + 999 < len(self.groups):
            more = urlencode({**query, "$skiptoken": str(start + 999)}, safe="$")
            page["@odata.nextLink"] = f"https://{self.graph}/v1.0/me/transitiveMemberOf?{more}"
        return Reply.json(page)

    def authenticate(self, form: Mapping[str, str], headers: Mapping[str, str]) -> DemoClient:
        if "client_assertion" not in form:
            if self.assertion or self.certificate[0]:
                raise Refused("invalid_client", "AADSTS7000218: client_assertion or client_secret is missing", 401)
            return super().authenticate(form, headers)
        assertion = form["client_assertion"]
        if form["client_assertion_type"] != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer":
            raise Refused("invalid_request", "AADSTS50027")
        if self.certificate[0]:
            self._check_certificate(assertion)
        elif assertion != self.assertion:
            raise Refused("invalid_client", "AADSTS700213: no matching federated identity record", 401)
        return self.clients[form["client_id"]]

    def _check_certificate(self, assertion: str) -> None:
        key, der = self.certificate
        token = jwt.decode(assertion, RSAKey.import_key(key), algorithms=["RS256", "PS256"])
        thumbprint = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()
        good = token.header["x5t#S256"] == thumbprint and token.claims["aud"] == self.endpoints["token_endpoint"]
        if not good or token.claims["iss"] != self.client_id or token.claims["sub"] != self.client_id:
            raise Refused("invalid_client", "AADSTS700027: the assertion is not of a known certificate", 401)


# --- Google


class Google(Costume):
    issuer_url = "https://accounts.google.com"
    endpoints: Mapping[str, str] = {
        "authorization_endpoint": "https://accounts.google.com/o/oauth2/v2/auth",
        "token_endpoint": "https://oauth2.googleapis.com/token",
        "userinfo_endpoint": "https://openidconnect.googleapis.com/v1/userinfo",
        "revocation_endpoint": "https://oauth2.googleapis.com/revoke",
        "jwks_uri": "https://www.googleapis.com/oauth2/v3/certs",
    }
    short_issuer = False

    def __init__(self, client_id: str) -> None:
        super().__init__(client_id)
        self.consented: set[str] = set()

    def profile(self, user: DemoUser, scopes: Sequence[str]) -> dict[str, Any]:
        return {
            "iss": "accounts.google.com" if self.short_issuer else self.issuer_url,
            "azp": self.client_id,
            "sub": {"ada": "110169484474386276334", "bob": "110169484474386276335"}[user.username],
            "email": user.email,
            "email_verified": True,
            "name": user.name,
            **({"hd": "example.com"} if user is ADA else {}),
        }

    def token_document(self, document: dict[str, Any], user: DemoUser) -> dict[str, Any]:
        """A refresh token comes with `access_type=offline`, and at the first consent only."""
        asked = self.last("/authorize")
        first = user.username not in self.consented or asked.get("prompt") == "consent"
        if asked.get("access_type") != "offline" or not first:
            document.pop("refresh_token")
        self.consented.add(user.username)
        return document


# --- GitHub


class GitHub(Costume):
    issuer_url = "https://github.com"
    endpoints: Mapping[str, str] = {
        "authorization_endpoint": "https://github.com/login/oauth/authorize",
        "token_endpoint": "https://github.com/login/oauth/access_token",
        "userinfo_endpoint": "https://api.github.com/user",
    }
    organisations: ClassVar[Mapping[str, list[str]]] = {"ada": ["acme", *(f"org-{n}" for n in range(150))], "bob": []}

    secret = SECRET

    def discovery(self) -> dict[str, Any]:
        raise AssertionError("GitHub has no discovery document for sign-ins")

    def _check_authorization(self, query: Mapping[str, str]) -> None:
        assert "openid" not in query["scope"] and "nonce" not in query
        super()._check_authorization({**query, "scope": "openid"})

    def authenticate(self, form: Mapping[str, str], headers: Mapping[str, str]) -> DemoClient:
        if form.get("client_secret") != self.secret:
            raise Refused("incorrect_client_credentials", "The client_id and/or client_secret are incorrect.", 200)
        return super().authenticate(form, headers)

    def _token(self, form: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
        """Errors come with status 200, and everything as a form unless JSON is asked for."""
        reply = super()._token(form, headers)
        if reply.status != 200:
            described = {**json.loads(reply.body), "error": "bad_verification_code"}
            reply = Reply.json(described)
        if headers.get("accept") != "application/json":
            return Reply(status=200, body=urlencode(json.loads(reply.body)).encode())
        return reply

    def token_document(self, document: dict[str, Any], user: DemoUser) -> dict[str, Any]:
        return {"access_token": document["access_token"], "token_type": "bearer", "scope": document["scope"]}

    def answer(
        self, method: str, endpoint: str, query: Mapping[str, str], form: Mapping[str, str], headers: Mapping[str, str]
    ) -> Reply:
        path = endpoint.removeprefix("api.github.com/user")
        if path == endpoint:
            return super().answer(method, endpoint, query, form, headers)
        self.seen.append((endpoint, dict(query)))
        family, _ = self._access_tokens[headers["authorization"].removeprefix("Bearer ")]
        user, scopes = family.user, family.scope.split()
        if path == "/emails" and "user:email" in scopes:
            other = {"email": "x@users.noreply.github.com", "primary": False, "verified": True}
            return Reply.json([other, {"email": user.email, "primary": True, "verified": user.email_verified}])
        if path in ("/orgs", "/teams") and "read:org" in scopes:
            return self._page(path, user, query)
        return Reply.json({"message": "Not Found"}, status=404)

    def _page(self, path: str, user: DemoUser, query: Mapping[str, str]) -> Reply:
        names = self.organisations[user.username]
        entries: list[Any] = [{"login": name, "id": n} for n, name in enumerate(names)]
        if path == "/teams":
            entries = [{"slug": "platform", "name": "Platform", "organization": {"login": "octo"}}] if names else []
        number, size = int(query.get("page", "1")), int(query.get("per_page", "30"))
        reply = Reply.json(entries[(number - 1) * size : number * size])
        if number * size >= len(entries):
            return reply
        following = f"<https://api.github.com/user{path}?per_page={size}&page={number + 1}>"
        link = f'{following}; rel="next", <https://api.github.com/user{path}?page=9>; rel="last"'
        return Reply(status=200, headers=(*reply.headers, ("link", link)), body=reply.body)

    def userinfo(self, user: DemoUser, scopes: Sequence[str]) -> Reply:
        number = {"ada": 1815, "bob": 1816}[user.username]
        return Reply.json({"login": user.username, "id": number, "name": user.name, "email": None})


# --- the others


class GitLab(Costume):
    issuer_url = "https://gitlab.com"
    endpoints: Mapping[str, str] = {
        "authorization_endpoint": "https://gitlab.com/oauth/authorize",
        "token_endpoint": "https://gitlab.com/oauth/token",
        "userinfo_endpoint": "https://gitlab.com/oauth/userinfo",
        "revocation_endpoint": "https://gitlab.com/oauth/revoke",
        "jwks_uri": "https://gitlab.com/oauth/discovery/keys",
    }

    def profile(self, user: DemoUser, scopes: Sequence[str]) -> dict[str, Any]:
        direct = ["acme/platform"] if user is ADA else []
        return {"sub": "4711", "email": user.email, "email_verified": True, "groups_direct": direct}


class Keycloak(Costume):
    issuer_url = "https://sso.example.com/realms/main"
    endpoints: Mapping[str, str] = {
        "authorization_endpoint": f"{issuer_url}/protocol/openid-connect/auth",
        "token_endpoint": f"{issuer_url}/protocol/openid-connect/token",
        "userinfo_endpoint": f"{issuer_url}/protocol/openid-connect/userinfo",
        "end_session_endpoint": f"{issuer_url}/protocol/openid-connect/logout",
        "revocation_endpoint": f"{issuer_url}/protocol/openid-connect/revoke",
        "jwks_uri": f"{issuer_url}/protocol/openid-connect/certs",
    }
    told: ClassVar[dict[str, Any]] = {"authorization_response_iss_parameter_supported": True}

    def __init__(self, client_id: str) -> None:
        super().__init__(client_id)
        self.faults.no_iss_parameter = False

    def profile(self, user: DemoUser, scopes: Sequence[str]) -> dict[str, Any]:
        staff = user is ADA
        return {
            **super().profile(user, scopes),
            "azp": self.client_id,
            "groups": ["/staff"] if staff else [],
            "realm_access": {"roles": ["operator"] if staff else []},
            "resource_access": {"my-app": {"roles": ["editor"] if staff else []}},
        }


class Okta(Costume):
    """ID tokens are thin: what scopes ask for is told at userinfo."""

    issuer_url = "https://example.okta.com"
    base = f"{issuer_url}/oauth2"
    refreshes = False
    userinfo_status = 200

    def __init__(self, client_id: str) -> None:
        self.endpoints = {
            "authorization_endpoint": f"{self.base}/v1/authorize",
            "token_endpoint": f"{self.base}/v1/token",
            "userinfo_endpoint": f"{self.base}/v1/userinfo",
            "end_session_endpoint": f"{self.base}/v1/logout",
            "revocation_endpoint": f"{self.base}/v1/revoke",
            "jwks_uri": f"{self.base}/v1/keys",
        }
        super().__init__(client_id)

    def profile(self, user: DemoUser, scopes: Sequence[str]) -> dict[str, Any]:
        return {"sub": f"00u-{user.username}", "ver": 1, "amr": ["pwd"], "preferred_username": user.email}

    def userinfo(self, user: DemoUser, scopes: Sequence[str]) -> Reply:
        claims = {**self.profile(user, scopes), "name": user.name, "email": user.email, "email_verified": True}
        groups = {"groups": list(user.groups)} if "groups" in scopes else {}
        return Reply.json({**claims, **groups}, status=self.userinfo_status)


class OktaCustom(Okta):
    issuer_url = "https://example.okta.com/oauth2/default"
    base = issuer_url

    def profile(self, user: DemoUser, scopes: Sequence[str]) -> dict[str, Any]:
        assert "groups" not in scopes, "invalid_scope: this server has no such scope"
        return {**super().profile(user, scopes), "groups": list(user.groups)}


class Auth0(Costume):
    issuer_url = "https://example.eu.auth0.com/"
    endpoints: Mapping[str, str] = {
        "authorization_endpoint": f"{issuer_url}authorize",
        "token_endpoint": f"{issuer_url}oauth/token",
        "userinfo_endpoint": f"{issuer_url}userinfo",
        "revocation_endpoint": f"{issuer_url}oauth/revoke",
        "jwks_uri": f"{issuer_url}.well-known/jwks.json",
    }
    refreshes = False

    def profile(self, user: DemoUser, scopes: Sequence[str]) -> dict[str, Any]:
        roles = {"https://example.com/roles": list(user.groups)}
        known = {"sub": f"auth0|{user.username}", "name": user.name, "email": user.email, "email_verified": True}
        return {**known, "nickname": user.username, **roles}

    def authenticate(self, form: Mapping[str, str], headers: Mapping[str, str]) -> DemoClient:
        if "authorization" in headers:
            raise Refused("access_denied", "Unauthorized", 401)
        return super().authenticate(form, headers)


class Cognito(Costume):
    """The issuer is the pool's, everything that people see lies in a domain of one's own."""

    issuer_url = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEfGhI"
    endpoints: Mapping[str, str] = {
        "authorization_endpoint": "https://auth.example.com/oauth2/authorize",
        "token_endpoint": "https://auth.example.com/oauth2/token",
        "userinfo_endpoint": "https://auth.example.com/oauth2/userInfo",
        "revocation_endpoint": "https://auth.example.com/oauth2/revoke",
        "jwks_uri": f"{issuer_url}/.well-known/jwks.json",
    }

    def profile(self, user: DemoUser, scopes: Sequence[str]) -> dict[str, Any]:
        return {
            "sub": f"{user.username}-uuid",
            "cognito:username": user.username,
            "cognito:groups": list(user.groups),
            "token_use": "id",
            "email": user.email,
            "email_verified": True,
        }


class Dex(Costume):
    """Takes BASIC and a secret in the body; ends no session."""

    issuer_url = "https://dex.example.com/dex"
    endpoints: Mapping[str, str] = {
        "authorization_endpoint": f"{issuer_url}/auth",
        "token_endpoint": f"{issuer_url}/token",
        "userinfo_endpoint": f"{issuer_url}/userinfo",
        "jwks_uri": f"{issuer_url}/keys",
    }
    told: ClassVar[dict[str, Any]] = {
        "device_authorization_endpoint": f"{issuer_url}/device/code",
        "introspection_endpoint": f"{issuer_url}/token/introspect",
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
    }
    refreshes = False


class Authentik(Costume):
    """An issuer for each application, with a slash at its end, as its endpoints have; they are everybody's."""

    base = "https://auth.example.org/application/o"
    issuer_url = f"{base}/my-app/"
    endpoints: Mapping[str, str] = {
        "authorization_endpoint": f"{base}/authorize/",
        "token_endpoint": f"{base}/token/",
        "userinfo_endpoint": f"{base}/userinfo/",
        "end_session_endpoint": f"{issuer_url}end-session/",
        "revocation_endpoint": f"{base}/revoke/",
        "jwks_uri": f"{issuer_url}jwks/",
    }
    refreshes = False


class Zitadel(Costume):
    """Its paths have versions, and its clients may prove themselves in four ways."""

    issuer_url = "https://my-instance.zitadel.cloud"
    endpoints: Mapping[str, str] = {
        "authorization_endpoint": f"{issuer_url}/oauth/v2/authorize",
        "token_endpoint": f"{issuer_url}/oauth/v2/token",
        "userinfo_endpoint": f"{issuer_url}/oidc/v1/userinfo",
        "end_session_endpoint": f"{issuer_url}/oidc/v1/end_session",
        "revocation_endpoint": f"{issuer_url}/oauth/v2/revoke",
        "jwks_uri": f"{issuer_url}/oauth/v2/keys",
    }
    told: ClassVar[dict[str, Any]] = {
        "token_endpoint_auth_methods_supported": [
            "none", "client_secret_basic", "client_secret_post", "private_key_jwt",
        ],
    }  # fmt: skip
    refreshes = False


def parameters(url: str) -> dict[str, str]:
    """The query of an address."""
    return dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))
