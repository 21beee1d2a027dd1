// npm's oidc-provider with one client and any user: `node op.mjs PORT REDIRECT_URI POST_LOGOUT_URI`.
//
// POST /test/rotate puts a new signing key first (the old one stays published); POST /test/delay/SECONDS makes each token
// request wait that long before the provider sees it, if its sender still waits by then; POST /test/lifetime/SECONDS says
// how long access tokens live that are issued from now on; GET /test/token-requests lists token requests.
import { createServer } from 'node:http';
import { generateKeyPairSync } from 'node:crypto';
import { Provider } from 'oidc-provider';

const [port, redirectUri, postLogoutUri] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;

function key(kid) {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { ...privateKey.export({ format: 'jwk' }), kid, use: 'sig', alg: 'ES256' };
}

function configuration(keys) {
  return {
    clients: [{
      client_id: 'ostiary',
      client_secret: 'a secret: 100% safe+sound',
      redirect_uris: [redirectUri],
      post_logout_redirect_uris: [postLogoutUri],
      grant_types: ['authorization_code', 'refresh_token'],
      id_token_signed_response_alg: 'ES256',
      token_endpoint_auth_method: 'client_secret_basic',
    }],
    jwks: { keys },
    cookies: { keys: ['only for tests'] },
    claims: { email: ['email', 'email_verified'], profile: ['name', 'preferred_username'], groups: ['groups'] },
    conformIdTokenClaims: false,
    scopes: ['openid', 'offline_access', 'email', 'profile', 'groups'],
    issueRefreshToken: async () => true,
    rotateRefreshToken: true,
    ttl: { AccessToken: () => lifetime, IdToken: 600, RefreshToken: 3600, Session: 3600, Grant: 3600, Interaction: 600 },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({
        sub: id,
        email: `${id}@example.com`,
        email_verified: true,
        name: `User ${id}`,
        preferred_username: id,
        groups: ['staff'],
      }),
    }),
    features: { devInteractions: { enabled: true }, rpInitiatedLogout: { enabled: true }, revocation: { enabled: true } },
  };
}

let keys = [key('first')];
let provider = new Provider(issuer, configuration(keys));
const tokenRequests = [];
let rotations = 0;
let delay = 0;
let lifetime = 3600;

createServer((request, response) => {
  if (request.url === '/test/rotate') {
    // The adapter's storage is shared by all providers of the process, so sessions and grants live on.
    rotations += 1;
    keys = [key(`rotated-${rotations}`), ...keys];
    provider = new Provider(issuer, configuration(keys));
    response.end(keys[0].kid);
  } else if (request.url.startsWith('/test/delay/')) {
    delay = Number(request.url.split('/').pop());
    response.end();
  } else if (request.url.startsWith('/test/lifetime/')) {
    lifetime = Number(request.url.split('/').pop());
    response.end();
  } else if (request.url === '/test/token-requests') {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(tokenRequests));
  } else {
    if (request.url === '/token') {
      const seen = { authorization: request.headers.authorization ?? null, status: null };
      tokenRequests.push(seen);
      response.on('finish', () => { seen.status = response.statusCode; });
    }
    const handle = () => {
      if (!request.socket.destroyed) provider.callback()(request, response);
    };
    if (request.url === '/token' && delay) setTimeout(handle, delay * 1000);
    else handle();
  }
}).listen(Number(port), '127.0.0.1', () => console.log('ready'));
