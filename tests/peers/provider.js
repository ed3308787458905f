// An OpenID provider (npm `oidc-provider`) on loopback, that issues JWT access tokens for client credentials.
//
//   node - PORT < provider.js        PORT 0 takes a free one; then prints `listening PORT`
//
// Beside the provider's own endpoints, for the test alone:
//   POST /test/rotate?alg=RS256   a new key for this algorithm takes the place of the others; answers with its `kid`
//   GET  /test/fetches            how often discovery and keys were asked for, as JSON
import { createServer } from 'node:http';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { Provider } from 'oidc-provider';

const KINDS = {
  RS256: ['rsa', { modulusLength: 2048 }],
  PS256: ['rsa', { modulusLength: 2048 }],
  ES256: ['ec', { namedCurve: 'P-256' }],
  ES384: ['ec', { namedCurve: 'P-384' }],
  EdDSA: ['ed25519', {}],
};
const fetches = { '/.well-known/openid-configuration': 0, '/jwks': 0 };
let keys = Object.keys(KINDS).map(key);
let serve;

function key(alg) {
  const [type, options] = KINDS[alg];
  const jwk = generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' });
  return { ...jwk, alg, use: 'sig', kid: randomUUID() };
}

/** Keys of a provider are fixed, so that a rotation is another provider behind the same socket. */
function provider(issuer) {
  const server = new Provider(issuer, {
    jwks: { keys },
    clients: [
      { client_id: 'service', client_secret: 'secret', grant_types: ['client_credentials'], redirect_uris: [], response_types: [] },
    ],
    scopes: ['read'],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        // The last segment of the resource names the algorithm that its tokens are signed with.
        getResourceServerInfo: (_context, resource) => ({
          scope: 'read',
          audience: 'api',
          accessTokenTTL: 300,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: resource.split('/').pop() } },
        }),
      },
    },
  });
  return server.callback();
}

const http = createServer((request, response) => {
  const url = new URL(request.url, 'http://localhost');
  if (url.pathname in fetches) fetches[url.pathname] += 1;
  if (url.pathname === '/test/fetches') return response.end(JSON.stringify(fetches));
  if (url.pathname === '/test/rotate') {
    const fresh = key(url.searchParams.get('alg'));
    keys = [fresh];
    serve = provider(issuer());
    return response.end(fresh.kid);
  }
  return serve(request, response);
});
const issuer = () => `http://127.0.0.1:${http.address().port}`;
http.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () => {
  serve = provider(issuer());
  console.log(`listening ${http.address().port}`);
});
