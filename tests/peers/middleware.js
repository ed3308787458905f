// The sources' Express middleware in front of one route, as it stands there but for what is said below.
//
//   node - JWKS ISSUER AUDIENCE < middleware.js
import { createPublicKey } from 'node:crypto';
import express from 'express';
import jwt from 'jsonwebtoken';

const [jwks, issuer, audience] = process.argv.slice(2);
const publicKey = createPublicKey({ key: JSON.parse(jwks).keys[0], format: 'jwk' });

class TokenBucket {
  constructor(rate, capacity) {
    this.rate = rate; // Tokens per second
    this.capacity = capacity; // Max tokens in bucket
    this.tokens = capacity;
    this.lastRefill = Date.now();
  }
  consume(tokens = 1) {
    this.refill();
    if (this.tokens >= tokens) {
      this.tokens -= tokens;
      return { allowed: true, remaining: this.tokens };
    }
    const waitTime = ((tokens - this.tokens) / this.rate) * 1000;
    return {
      allowed: false,
      remaining: this.tokens,
      retryAfter: Math.ceil(waitTime / 1000),
    };
  }
  refill() {
    const now = Date.now();
    const elapsed = (now - this.lastRefill) / 1000;
    const tokensToAdd = elapsed * this.rate;
    this.tokens = Math.min(this.capacity, this.tokens + tokensToAdd);
    this.lastRefill = now;
  }
}

// The sources make a new bucket for each request, which never limits. Here each key keeps its own.
const limiters = new Map();
function rateLimitMiddleware(req, res, next) {
  const apiKey = req.headers['x-api-key'] || req.ip;
  const limit = req.user?.tier === 'premium' ? 1000 : 100;
  const window = 60; // seconds
  if (!limiters.has(apiKey)) limiters.set(apiKey, new TokenBucket(limit / window, limit));
  const limiter = limiters.get(apiKey);
  const result = limiter.consume();
  // Set rate limit headers
  res.set({
    'X-RateLimit-Limit': limit,
    'X-RateLimit-Remaining': result.remaining,
    'X-RateLimit-Reset': Math.floor(Date.now() / 1000) + window,
  });
  if (!result.allowed) {
    res.set('Retry-After', result.retryAfter);
    return res.status(429).json({
      error: 'Too many requests',
      retryAfter: result.retryAfter,
    });
  }
  next();
}

// The key is given and not fetched, so that this peer needs no other.
function getKey(header, callback) {
  callback(null, publicKey);
}
function authMiddleware(req, res, next) {
  const authHeader = req.headers.authorization;
  if (!authHeader || !authHeader.startsWith('Bearer ')) {
    return res.status(401).json({ error: 'No token provided' });
  }
  const token = authHeader.split(' ')[1];
  jwt.verify(token, getKey, {
    audience,
    issuer,
    algorithms: ['RS256'],
  }, (err, decoded) => {
    if (err) {
      return res.status(401).json({ error: 'Invalid token', details: err.message });
    }
    req.user = decoded;
    next();
  });
}

const app = express();
app.get('/limited', rateLimitMiddleware, (req, res) => res.json({ message: 'ok' }));
app.get('/protected', authMiddleware, (req, res) => res.json({ message: 'Access granted', user: req.user }));
const server = app.listen(0, '127.0.0.1', () => console.log(`listening ${server.address().port}`));
