/** What the configuration file of the VM shim may say; docs/configuration.md is made of it. */
import { parseDestinationRule } from '../shared/rules/destination-rule.ts';
import { COMMON_SETTINGS } from '../shared/settings/common-settings.ts';
import type { Schema } from '../shared/settings/schema.ts';
import { parseVmDial, parseVmLink } from '../shared/transport/link-address.ts';
import { parsePeerCids } from '../shared/transport/peer-cids.ts';
import { parseGateway, parsePortFs } from './addresses.ts';

export const SHIM_SCHEMA: Schema = {
  keys: {
    listen: {
      kind: 'text',
      check: (text) => void parseVmLink(text),
      unless: 'not awaited',
      about: 'The host agent dials us there. There is either this or `connect`.',
    },
    connect: {
      kind: 'text',
      check: (text) => void parseVmDial(text),
      unless: 'not dialled',
      about: 'The host agent is dialled there.',
    },
    'port-fs': {
      kind: 'text',
      check: (text) => void parsePortFs(text),
      unless: 'not served',
      about: 'Where the control filesystem is served, on a unix socket.',
    },
    'gateway-api': {
      kind: 'text',
      check: (text) => void parseGateway(text),
      unless: 'not served',
      about:
        "IP:PORT where gvproxy's API is served, for podman ([integrations.md](integrations.md#podman-machine)); containers that reach it can open host ports.",
    },
    'allow-destination': {
      kind: 'texts',
      check: (text) => void parseDestinationRule(text),
      unless: 'everything',
      about: 'What the host may dial here: `CIDR[:PORTS]` or `unix:DIR`; nothing where the list is empty.',
    },
    'peer-cid': {
      kind: 'text',
      check: (text) => void parsePeerCids(text),
      unless: '2, the host',
      about: 'Who may connect to `listen` over vsock: `CID[,CID...]` or `any`.',
    },
    'token-file': {
      kind: 'text',
      unless: 'no token',
      about:
        'File of the token that the host agent has to prove that it has, and that we prove to have ([security.md](security.md#identity)).',
    },
    'legacy-peer': {
      kind: 'flag',
      unless: 'false',
      about: 'Whether a vpnkit host, which sends no hello of ours, is accepted as well.',
    },
    ...COMMON_SETTINGS,
  },
};
