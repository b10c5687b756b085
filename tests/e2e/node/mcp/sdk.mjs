// The client half of the MCP SDK: from the 401 of an API it finds the authority, makes itself known, has the person
// sign in, is let in, renews its tokens, and asks for more when the API demands more.
import { auth, extractWWWAuthenticateParams } from '@modelcontextprotocol/sdk/client/auth.js'

import { ask, settings, tell } from '../asking.mjs'

class Agent {
  redirectUrl = settings.redirect_uri
  clientMetadataUrl = settings.document
  clientMetadata = {
    client_name: 'Agent',
    redirect_uris: [settings.redirect_uri],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: 'none',
  }

  clientInformation = () => this.client
  saveClientInformation = (client) => (this.client = client)
  tokens = () => this.kept
  saveTokens = (tokens) => (this.kept = tokens)
  codeVerifier = () => this.verifier
  saveCodeVerifier = (verifier) => (this.verifier = verifier)

  async redirectToAuthorization(url) {
    this.asked = url
    this.code = new URL(await ask({ open: url.href })).searchParams.get('code')
  }
}

const agent = new Agent()

// The API, as its proxy guards it.
function visit(permission) {
  const door = new URL('/forward-auth', settings.issuer)
  door.search = new URLSearchParams({ api: settings.api, permissions: permission })
  const headers = { 'x-original-uri': '/pages', 'x-original-method': 'GET' }
  if (agent.kept) headers.authorization = `Bearer ${agent.kept.access_token}`
  return fetch(door, { headers })
}

async function authorize(refusal) {
  const { resourceMetadataUrl, scope } = extractWWWAuthenticateParams(refusal)
  const options = { serverUrl: `${settings.api}/pages`, resourceMetadataUrl, scope }
  const first = await auth(agent, options)
  if (first === 'AUTHORIZED') return [first]
  return [first, await auth(agent, { ...options, authorizationCode: agent.code })]
}

const seen = { statuses: [] }

const stranger = await visit('pages:read')
seen.statuses.push(stranger.status)
seen.steps = [await authorize(stranger)]
seen.resource = agent.asked.searchParams.get('resource')
seen.client_id = agent.client.client_id
seen.scopes = [agent.kept.scope]
seen.statuses.push((await visit('pages:read')).status)

// Refused for want of a scope, it asks its person anew: the SDK would only renew the tokens that it holds. It registered
// for less, and must do that anew too; a client that is known by its document need not.
const more = await visit('pages:write')
seen.statuses.push(more.status)
agent.kept = undefined
if (!settings.document) agent.client = undefined
seen.steps.push(await authorize(more))
seen.scopes.push(agent.kept.scope)
seen.statuses.push((await visit('pages:write')).status)

const first = agent.kept
agent.kept = { ...first, access_token: 'kb_at_old' }
const old = await visit('pages:write')
seen.statuses.push(old.status)
seen.steps.push(await authorize(old))
seen.rotated = agent.kept.refresh_token !== first.refresh_token
seen.statuses.push((await visit('pages:write')).status)
tell(seen)
