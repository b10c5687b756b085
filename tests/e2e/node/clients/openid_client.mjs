// openid-client: code flow with a secret; private_key_jwt with PAR and DPoP; signed requests and answers; an API key that
// is exchanged for a token; registration and a device.
import * as client from 'openid-client'
import { importJWK } from 'jose'

import { ask, refusal, settings, tell } from '../asking.mjs'

const issuer = new URL(settings.issuer)
const options = { execute: [client.allowInsecureRequests], timeout: 30 }
const seen = {}

async function request(scope) {
  const pkceCodeVerifier = client.randomPKCECodeVerifier()
  const checks = { pkceCodeVerifier, expectedState: client.randomState(), expectedNonce: client.randomNonce() }
  const parameters = {
    redirect_uri: settings.redirect_uri,
    scope,
    code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: 'S256',
    state: checks.expectedState,
    nonce: checks.expectedNonce,
  }
  return { checks, parameters }
}

async function withSecret() {
  const { id, secret } = settings.confidential
  const config = await client.discovery(issuer, id, secret, client.ClientSecretBasic(secret), options)
  const { checks, parameters } = await request('openid email offline_access pages:read')
  const arrived = new URL(await ask({ open: client.buildAuthorizationUrl(config, { ...parameters, max_age: 600 }).href }))
  const tokens = await client.authorizationCodeGrant(config, arrived, { ...checks, maxAge: 600, idTokenExpected: true })
  const { sub } = tokens.claims()
  const person = await client.fetchUserInfo(config, tokens.access_token, sub)
  const introspected = await client.tokenIntrospection(config, tokens.access_token)
  const renewed = await client.refreshTokenGrant(config, tokens.refresh_token)
  await client.tokenRevocation(config, renewed.refresh_token)
  seen.secret = {
    email: person.email,
    scope: tokens.scope,
    introspected,
    access_token: renewed.access_token,
    after: await refusal(() => client.refreshTokenGrant(config, renewed.refresh_token)),
    replayed: await refusal(() => client.authorizationCodeGrant(config, arrived, { ...checks, maxAge: 600 })),
  }
  const leave = { post_logout_redirect_uri: settings.redirect_uri, id_token_hint: tokens.id_token, state: 'gone' }
  seen.secret.left = await ask({ open: client.buildEndSessionUrl(config, leave).href })
}

async function withKeys() {
  const key = await importJWK(settings.key, 'ES256')
  const authentication = client.PrivateKeyJwt({ key, kid: settings.key.kid })
  const config = await client.discovery(issuer, settings.keyed.id, {}, authentication, options)
  const DPoP = client.getDPoPHandle(config, await client.randomDPoPKeyPair())
  const { checks, parameters } = await request('openid profile pages:read pages:write')
  const pushed = await client.buildAuthorizationUrlWithPAR(config, parameters, { DPoP })
  const arrived = new URL(await ask({ open: pushed.href }))
  const tokens = await client.authorizationCodeGrant(config, arrived, checks, undefined, { DPoP })
  const { sub } = tokens.claims()
  const person = await client.fetchUserInfo(config, tokens.access_token, sub, { DPoP })
  const introspected = await client.tokenIntrospection(config, tokens.access_token)
  const renewed = await client.refreshTokenGrant(config, tokens.refresh_token, undefined, { DPoP })
  const machine = await client.clientCredentialsGrant(config, { scope: 'pages:write' }, { DPoP })
  seen.keys = {
    parameters: [...pushed.searchParams.keys()].sort(),
    thumbprint: await DPoP.calculateThumbprint(),
    type: tokens.token_type,
    introspected,
    person,
    renewed: renewed.token_type,
    machine: { type: machine.token_type, scope: machine.scope },
    bearer: await refusal(() => client.fetchUserInfo(config, tokens.access_token, sub)),
  }
}

async function signed() {
  const key = { key: await importJWK(settings.key, 'ES256'), kid: settings.key.kid }
  const metadata = { authorization_signed_response_alg: 'ES256' }
  const authentication = client.PrivateKeyJwt(key)
  const config = await client.discovery(issuer, settings.keyed.id, metadata, authentication, options)
  client.useJwtResponseMode(config)
  seen.signed = []
  for (const isPushed of [false, true]) {
    const { checks, parameters } = await request('openid pages:read')
    let url = await client.buildAuthorizationUrlWithJAR(config, parameters, key)
    if (isPushed) url = await client.buildAuthorizationUrlWithPAR(config, url.searchParams)
    const arrived = new URL(await ask({ open: url.href }))
    const tokens = await client.authorizationCodeGrant(config, arrived, checks)
    const names = (from) => [...from.searchParams.keys()].sort()
    seen.signed.push({ asked: names(url), answered: names(arrived), scope: tokens.scope })
  }
}

async function exchanged() {
  const { id, secret } = settings.confidential
  const config = await client.discovery(issuer, id, secret, client.ClientSecretBasic(secret), options)
  const tokens = await client.genericGrantRequest(config, 'urn:ietf:params:oauth:grant-type:token-exchange', {
    subject_token: settings.api_key,
    subject_token_type: 'urn:keybearer:params:oauth:token-type:api-key',
    resource: settings.api,
    scope: 'pages:read',
  })
  seen.exchanged = { access_token: tokens.access_token, kind: tokens.issued_token_type, scope: tokens.scope }
}

async function registered() {
  const metadata = {
    client_name: 'Television',
    grant_types: ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'],
    response_types: [],
    token_endpoint_auth_method: 'none',
  }
  const config = await client.dynamicClientRegistration(issuer, metadata, client.None(), options)
  const device = await client.initiateDeviceAuthorization(config, { scope: 'openid email' })
  await ask({ device: device.verification_uri, code: device.user_code })
  const tokens = await client.pollDeviceAuthorizationGrant(config, device)
  const person = await client.fetchUserInfo(config, tokens.access_token, tokens.claims().sub)
  seen.registered = { id: config.clientMetadata().client_id, email: person.email }
}

await withSecret()
await withKeys()
await signed()
await exchanged()
await registered()
tell(seen)
