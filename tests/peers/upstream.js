// An Express application that is reached through a prefix which it does not know of, and that names itself in its
// redirects and cookies, as applications do.
//
//   node - < upstream.js
import express from 'express';

const app = express();
const self = (req) => `${req.protocol}://${req.get('host')}`;
app.get('/relative', (req, res) => res.redirect('/landing?from=relative'));
app.get('/absolute', (req, res) => res.redirect(302, `${self(req)}/landing?from=absolute`));
app.get('/back/up', (req, res) => res.redirect('../landing'));
app.post('/created', (req, res) => res.status(201).location(`${self(req)}/things/7`).json({ id: 7 }));
app.get('/elsewhere', (req, res) => res.redirect('https://login.example.com/landing'));
app.get('/cookies', (req, res) => {
  res.cookie('all', '1', { path: '/' });
  res.cookie('own', '2', { path: '/account', domain: req.hostname, httpOnly: true });
  res.cookie('other', '3', { path: '/', domain: 'example.org' });
  res.json({ host: req.get('host') });
});
app.get('/landing', (req, res) => res.json({ landed: req.originalUrl, host: req.get('host') }));
const server = app.listen(0, '127.0.0.1', () => console.log(`listening ${server.address().port}`));
