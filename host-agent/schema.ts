/** What the configuration file of the host agent may say; docs/configuration.md is made of it. */
import { parsePortRule } from '../shared/rules/port-rule.ts';
import { COMMON_SETTINGS } from '../shared/settings/common-settings.ts';
import type { Schema, SettingTable } from '../shared/settings/schema.ts';
import { parseAddress } from '../shared/transport/address.ts';
import { LANES } from '../shared/transport/choose.ts';
import { parseHostLink } from '../shared/transport/link-address.ts';
import { parsePeerCids } from '../shared/transport/peer-cids.ts';
import { VM_NAME } from '../shared/vm-name.ts';
import { POLICY_KEYS } from './control/policy-schema.ts';

const LANE = {
  kind: 'text',
  choices: LANES,
  unless: '"auto"',
  about: 'How connections travel: each on a stream of its own, or multiplexed on the link.',
} as const;

const LEGACY_PEER = {
  kind: 'flag',
  unless: 'false',
  about: 'Whether a vpnkit peer, which sends no hello of ours, is accepted as well.',
} as const;

const VM: SettingTable = {
  kind: 'table',
  about: 'One VM; its name is what `--vm` and `NAME=URL` say.',
  keys: {
    connect: {
      kind: 'text',
      check: (text) => void parseHostLink(text),
      unless: 'not dialled',
      about: 'The VM shim is dialled there. A VM has either this or `listen`.',
    },
    listen: {
      kind: 'text',
      check: (text) => void parseAddress(text),
      unless: 'not awaited',
      about: 'The VM shim dials us there.',
    },
    control: {
      kind: 'texts',
      check: (text) => void parseAddress(text),
      unless: '[]',
      about: 'Where the 9P control filesystem of the VM is served.',
    },
    'peer-cid': {
      kind: 'text',
      check: (text) => void parsePeerCids(text),
      unless: 'CIDs from 3 on, those of VMs',
      about: 'Who may connect to `listen` and `control` over vsock: `CID[,CID...]` or `any`.',
    },
    'token-file': {
      kind: 'text',
      unless: 'no token',
      about:
        'File of the token that the VM has to prove that it has, and that we prove to have ([security.md](security.md#identity)).',
    },
    lane: { ...LANE, unless: 'what the top of the file says' },
    'legacy-peer': { ...LEGACY_PEER, unless: 'what the top of the file says' },
    policy: {
      kind: 'table',
      about: 'What this VM may do, where it differs from `[policy]`.',
      keys: POLICY_KEYS,
    },
  },
};

export const HOST_SCHEMA: Schema = {
  keys: {
    api: {
      kind: 'text',
      unless: 'no API',
      about:
        'Path of the unix socket that the HTTP API is served on, for `expose`, `unexpose` and `list`; on Windows a named pipe, `npipe:////./pipe/NAME`.',
    },
    state: {
      kind: 'text',
      unless: 'they end with the host agent',
      about: 'Path of the file that keeps forwards made through the API.',
    },
    grace: {
      kind: 'seconds',
      min: 0,
      max: 86_400,
      unless: '30',
      about: 'Seconds for which the claims of a VM shim outlive its link.',
    },
    'wildcard-privileged': {
      kind: 'flag',
      unless: 'false',
      about:
        'On macOS: whether ports below 1024 that are denied at one address are taken at all, and answer at that one only.',
    },
    heartbeat: COMMON_SETTINGS.heartbeat,
    'port-range': {
      kind: 'text',
      check: (text) => void parsePortRule(text),
      unless: '"49153-65535"',
      about:
        'Host ports for requests that leave the choice to the host agent, where the policy allows some of them.',
    },
    engine: COMMON_SETTINGS.engine,
    workers: COMMON_SETTINGS.workers,
    lane: LANE,
    'legacy-peer': LEGACY_PEER,
    'log-level': COMMON_SETTINGS['log-level'],
    policy: { kind: 'table', about: 'What every VM may do.', keys: POLICY_KEYS },
    vm: {
      kind: 'named',
      about: 'The VMs.',
      name: new RegExp(`^${VM_NAME}$`),
      each: VM,
    },
  },
};
