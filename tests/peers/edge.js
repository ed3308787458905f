// The sources' tiny edge: authentication and a proxy, as it stands there. Its upstream and its key come as arguments,
// and its port is a free one.
//
//   node - UPSTREAM JWKS < edge.js
import { createPublicKey } from 'node:crypto';
import express from 'express';
import { createProxyMiddleware } from 'http-proxy-middleware';
import jwt from 'jsonwebtoken';

process.env.JWKS_PUBLIC_KEY = createPublicKey({ key: JSON.parse(process.argv[3]).keys[0], format: 'jwk' }).export({
  type: 'spki',
  format: 'pem',
});

const app = express();
const upstream = process.argv[2];
function requireJWT(req, res, next) {
  try {
    const [, token] = (req.headers.authorization || '').split(' ');
    const claims = jwt.verify(token, process.env.JWKS_PUBLIC_KEY, { algorithms: ['RS256'] });
    // pass identity to upstream
    req.headers['x-user-id'] = claims.sub;
    next();
  } catch (e) {
    return res.status(401).json({ error: 'invalid_token' });
  }
}
app.use('/v1', requireJWT, createProxyMiddleware({ target: upstream, changeOrigin: true }));
const server = app.listen(0, '127.0.0.1', () => console.log(`listening ${server.address().port}`));
