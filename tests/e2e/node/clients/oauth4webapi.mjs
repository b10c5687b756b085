// oauth4webapi, which checks every answer against its specification: RFC 8414 discovery, PAR, private_key_jwt and DPoP,
// signed introspection and userinfo, a JWT access token checked as an API would.
import * as oauth from 'oauth4webapi'
import { importJWK } from 'jose'

import { ask, refusal, settings, tell } from '../asking.mjs'

const insecure = { [oauth.allowInsecureRequests]: true }
const issuer = new URL(settings.issuer)
const seen = {}

async function discover(algorithm) {
  const answer = await oauth.discoveryRequest(issuer, { ...insecure, algorithm })
  return oauth.processDiscoveryResponse(issuer, answer)
}

const server = await discover('oauth2')
seen.same = JSON.stringify(server) === JSON.stringify(await discover('oidc'))

const client = {
  client_id: settings.keyed.id,
  introspection_signed_response_alg: 'ES256',
  userinfo_signed_response_alg: 'ES256',
  id_token_signed_response_alg: 'ES256',
}
const key = await importJWK(settings.key, 'ES256')
const authentication = oauth.PrivateKeyJwt({ key, kid: settings.key.kid })
const DPoP = oauth.DPoP(client, await oauth.generateKeyPair('ES256'))
const bound = { ...insecure, DPoP }

// A proof without a nonce, or with an old one, is refused once, and the next one has the nonce.
async function twice(send, read) {
  try {
    return await read(await send())
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error
    seen.nonces = (seen.nonces ?? 0) + 1
    return read(await send())
  }
}

const verifier = oauth.generateRandomCodeVerifier()
const state = oauth.generateRandomState()
const nonce = oauth.generateRandomNonce()
const parameters = {
  client_id: client.client_id,
  response_type: 'code',
  redirect_uri: settings.redirect_uri,
  scope: 'openid email offline_access pages:read',
  resource: settings.api,
  code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
  code_challenge_method: 'S256',
  state,
  nonce,
}
const pushed = await twice(
  () => oauth.pushedAuthorizationRequest(server, client, authentication, parameters, bound),
  (answer) => oauth.processPushedAuthorizationResponse(server, client, answer),
)
const url = new URL(server.authorization_endpoint)
url.search = new URLSearchParams({ client_id: client.client_id, request_uri: pushed.request_uri })
const arrived = new URL(await ask({ open: url.href }))
const answer = oauth.validateAuthResponse(server, client, arrived, state)

let last
const tokens = await twice(
  async () => (last = await oauth.authorizationCodeGrantRequest(
    server, client, authentication, answer, settings.redirect_uri, verifier, bound,
  )),
  (response) => oauth.processAuthorizationCodeResponse(
    server, client, response, { expectedNonce: nonce, requireIdToken: true },
  ),
)
await oauth.validateApplicationLevelSignature(server, last, insecure)
const { sub } = oauth.getValidatedIdTokenClaims(tokens)

const person = await twice(
  async () => (last = await oauth.userInfoRequest(server, client, tokens.access_token, bound)),
  (response) => oauth.processUserInfoResponse(server, client, sub, response),
)
await oauth.validateApplicationLevelSignature(server, last, insecure)

last = await oauth.introspectionRequest(server, client, authentication, tokens.access_token, {
  ...insecure,
  requestJwtResponse: true,
})
const introspected = await oauth.processIntrospectionResponse(server, client, last)
await oauth.validateApplicationLevelSignature(server, last, insecure)

// What an API does with the token: a request with a proof, which it checks with the JWK Set alone.
const captured = await new Promise((resolve) => {
  oauth.protectedResourceRequest(tokens.access_token, 'GET', new URL('https://site.example/pages'), undefined, null, {
    DPoP,
    [oauth.customFetch]: (...request) => {
      resolve(new Request(...request))
      return Promise.resolve(new Response())
    },
  })
})
const claims = await oauth.validateJwtAccessToken(server, captured, settings.api, { ...insecure, requireDPoP: true })

const renewed = await twice(
  () => oauth.refreshTokenGrantRequest(server, client, authentication, tokens.refresh_token, bound),
  (response) => oauth.processRefreshTokenResponse(server, client, response),
)
const machine = await twice(
  () => oauth.clientCredentialsGrantRequest(server, client, authentication, { scope: 'pages:write' }, bound),
  (response) => oauth.processClientCredentialsResponse(server, client, response),
)
// Where keys bind everything, the refresh token stays as it is, as FAPI 2.0 wants it.
const refreshToken = renewed.refresh_token ?? tokens.refresh_token
await oauth.processRevocationResponse(
  await oauth.revocationRequest(server, client, authentication, refreshToken, insecure),
)

tell({
  ...seen,
  person,
  introspected,
  claims,
  thumbprint: await DPoP.calculateThumbprint(),
  type: tokens.token_type,
  renewed: renewed.access_token,
  stays: renewed.refresh_token === undefined,
  machine: { type: machine.token_type, scope: machine.scope },
  ended: await refusal(async () =>
    oauth.processRefreshTokenResponse(
      server,
      client,
      await oauth.refreshTokenGrantRequest(server, client, authentication, refreshToken, bound),
    ),
  ),
})
