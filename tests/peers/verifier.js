// An upstream that serves only what the gateway sends: it checks the signed identity and says whose it is.
//
//   node - SECRET NAME < verifier.js
import express from 'express';
import jwt from 'jsonwebtoken';

const [secret, name] = process.argv.slice(2);
const app = express();
app.use((req, res) => {
  try {
    const options = { algorithms: ['HS256'], issuer: 'portcullis', audience: name };
    const { sub, auth } = jwt.verify(req.get('x-gateway-identity') ?? '', secret, options);
    res.json({ sub, auth });
  } catch (e) {
    res.status(401).json({ error: e.message });
  }
});
const server = app.listen(0, '127.0.0.1', () => console.log(`listening ${server.address().port}`));
