/** The keys of `[policy]` and `[vm.NAME.policy]`. */

import { MAX_CLAIMS } from '../../shared/claim-messages.ts';
import { parseCidr } from '../../shared/rules/cidr.ts';
import { parseDestinationRule } from '../../shared/rules/destination-rule.ts';
import { parsePortRule } from '../../shared/rules/port-rule.ts';
import { checkDirectory } from '../../shared/rules/unix-directory.ts';
import type { SettingEntry } from '../../shared/settings/schema.ts';

export const PUBLISH = ['as-requested', 'loopback'] as const;

const MOST = 1_000_000_000;

export const POLICY_KEYS = {
  publish: {
    kind: 'text',
    choices: PUBLISH,
    unless: '"as-requested"',
    about:
      'What becomes of a request for `0.0.0.0` or `::`, which is what docker asks for when nobody chose: it is honoured, or turned into `127.0.0.1` or `::1`. The other rules look at what comes of it.',
  },
  bind: {
    kind: 'texts',
    check: (text) => void parseCidr(text),
    unless: '["0.0.0.0/0", "::/0"]',
    about:
      'Addresses of the host that ports may be opened on: addresses and CIDRs. `0.0.0.0` and `::` stand for all of their family, so only a rule that has them allows them.',
  },
  ports: {
    kind: 'texts',
    check: (text) => void parsePortRule(text),
    unless: '["1-65535"]',
    about: 'Host ports: single ones and ranges. Who asks for any free port (0) gets one of these.',
  },
  'privileged-ports': {
    kind: 'flag',
    unless: 'true',
    about: 'Whether host ports below 1024 may be opened, where the system lets the host agent.',
  },
  'unix-directories': {
    kind: 'texts',
    check: (text) => void checkDirectory(text),
    unless: '[]',
    about:
      'Directories of the host that unix sockets may be published in, and below. None unless told. A symbolic link on the way must not lead out of them.',
  },
  destinations: {
    kind: 'texts',
    check: (text) => void parseDestinationRule(text),
    unless: '["0.0.0.0/0", "::/0", "unix:/"]',
    about:
      'What may be dialled in the VM: `CIDR`, `CIDR:PORTS`, `[CIDR]:PORTS` for IPv6, `unix:DIR`. Of a unix path the host sees the text only; `vm-shim --allow-destination` looks at the links in it as well.',
  },
  'allow-reverse': {
    kind: 'texts',
    check: (text) => void parseDestinationRule(text),
    unless: '[]',
    about:
      'Services of the host that may be published in the VM (`portferry expose --reverse`), in the same notation: `127.0.0.1:5432`, `unix:DIR`. None unless told.',
  },
  'max-forwards': {
    kind: 'number',
    min: 0,
    max: MAX_CLAIMS,
    unless: `${MAX_CLAIMS}`,
    about: 'Forwards of the VM at once, reverse ones among them.',
  },
  'max-connections': {
    kind: 'number',
    min: 0,
    max: MOST,
    unless: '16384, with several VMs 12288; less where the process may open too few files',
    about: 'Connections of the VM at once.',
  },
  'max-connections-per-forward': {
    kind: 'number',
    min: 0,
    max: MOST,
    unless: '4096',
    about: 'Connections of one forward at once; a change is for forwards that are made later.',
  },
  'max-flows': {
    kind: 'number',
    min: 0,
    max: MOST,
    unless: '65536',
    about: 'UDP flows of the VM at once; another one takes the place of the idlest of its forward.',
  },
  'max-flows-per-forward': {
    kind: 'number',
    min: 1,
    max: 65_536,
    unless: '1024',
    about: 'UDP flows of one forward at once; a change is for forwards that are made later.',
  },
  'new-connections-per-second': {
    kind: 'number',
    min: 1,
    max: 100_000,
    unless: '100000',
    about: 'New connections of the VM; a burst may be as many as a second has. Others are reset.',
  },
  'bytes-per-second': {
    kind: 'number',
    min: 1_000,
    max: Number.MAX_SAFE_INTEGER,
    unless: 'no limit',
    about:
      'Bytes that all connections and datagrams of the VM carry, both directions together. Connections wait and take turns, datagrams that are too many are dropped.',
  },
} as const satisfies Record<string, SettingEntry>;

export type PolicyKey = keyof typeof POLICY_KEYS;
