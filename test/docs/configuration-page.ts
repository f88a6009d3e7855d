/** docs/configuration.md, made of the schemas that check the files. */
import { HOST_SCHEMA } from '../../host-agent/schema.ts';
import type { NamedTables, Schema, SettingEntry, SettingTable } from '../../shared/settings/schema.ts';
import { SHIM_SCHEMA } from '../../vm-shim/schema.ts';

const INTRODUCTION = `# Configuration

_Made of the schemas by \`npm run docs\`; a test holds the two together._

\`host-agent --config FILE\` reads a [TOML](https://toml.io) file. It may say whatever options say, under the
same names, and the policy. An option that is given wins over the file; what options say of a VM's URLs takes the place of what
the file says of them, and \`--unix-directory\` that of \`unix-directories\`. A list of one text may stand without brackets. An unknown
key is an error that names the file, the line, and the key that was likely meant.

When the file changes, and on SIGHUP (not on Windows, where a console that is closed is one), the host agent reads it again. The policy then holds at once: forwards that it no longer
allows are closed with their connections, and logged; all others go on. Of those, claims have ended, and what was made through the API comes
back when the policy allows it again. A limit that is lower now ends nobody, it turns new ones
away. A file that is wrong changes nothing, and the log says what is wrong with it. Everything but the policy needs a restart.

\`\`\`toml
${'api = "/run/portferry/api.sock"'}

[policy]                             # for all VMs
publish = "loopback"
privileged-ports = false
ports = ["1024-65535"]

[vm.work]
connect = "unix:///run/vms/work.sock"
control = "unix:///run/vms/work-control.sock"

[vm.work.policy]                     # what is different for this one
publish = "as-requested"
bind = ["127.0.0.0/8", "192.168.1.10"]
unix-directories = ["/run/portferry/work"]
destinations = ["172.17.0.0/16", "127.0.0.1:1024-65535", "unix:/run"]
\`\`\`

A refusal by the policy has the code \`POLICY_DENIED\` and names the rule:

\`\`\`
policy of VM "work": 192.168.1.11:8080 may not be opened: bind = ["127.0.0.0/8", "192.168.1.10"] ([vm.work.policy])
\`\`\`

What the policy is for, and what it does not do, is in [security.md](security.md).
`;

const SHIM = `\`vm-shim --config FILE\` reads such a file as well, once at its start.

\`\`\`toml
listen = "vsock://:5000"
port-fs = "unix:///run/portferry.sock"
token-file = "/etc/portferry/token"
allow-destination = ["172.17.0.0/16", "127.0.0.1:1024-65535"]
\`\`\`
`;

/** The whole page. */
export function configurationPage(): string {
  const host = `## host-agent\n\n${section(HOST_SCHEMA.keys, [])}`;
  return `${INTRODUCTION}\n${host}\n## vm-shim\n\n${SHIM}\n${section(SHIM_SCHEMA.keys, [])}`;
}

type Entry = SettingEntry | SettingTable | NamedTables;

function section(keys: Schema['keys'], path: readonly string[]): string {
  const settings = Object.entries(keys).filter((each): each is [string, SettingEntry] => !isTable(each[1]));
  const tables = Object.entries(keys).filter((each): each is [string, SettingTable | NamedTables] =>
    isTable(each[1]),
  );
  const rows = settings.map(
    ([key, entry]) => `| \`${key}\` | ${typeOf(entry)} | ${unlessOf(entry)} | ${entry.about} |`,
  );
  const head = '| key | value | unless told | meaning |\n| --- | --- | --- | --- |\n';
  const own = rows.length === 0 ? '' : `${head}${rows.join('\n')}\n`;
  return [own, ...tables.map(([key, table]) => subsection(table, [...path, key]))].join('\n');
}

function subsection(table: SettingTable | NamedTables, path: readonly string[]): string {
  const named = table.kind === 'named';
  const here = named ? [...path, 'NAME'] : path;
  const inner = named ? table.each : table;
  const about = named ? `${table.about} ${inner.about}` : inner.about;
  const title = `### [${here.join('.')}]\n\n${about}`;
  // The policy has the same keys wherever it stands.
  if (here.length > 1 && here.at(-1) === 'policy')
    return `${title} It has the keys of [\`[policy]\`](#policy).\n`;
  return `${title}\n\n${section(inner.keys, here)}`;
}

function isTable(entry: Entry): boolean {
  return entry.kind === 'table' || entry.kind === 'named';
}

function typeOf(entry: SettingEntry): string {
  switch (entry.kind) {
    case 'flag':
      return '`true` or `false`';
    case 'number':
    case 'seconds':
      return `${entry.min} to ${entry.max}`;
    case 'texts':
      return 'list of texts';
    case 'text':
      return entry.choices === undefined ? 'text' : entry.choices.map((each) => `\`"${each}"\``).join(', ');
  }
}

/** A value stands as code, words as words. */
function unlessOf({ unless }: SettingEntry): string {
  return /^(?:["[\d]\S*$|\[.*\]$|true$|false$)/.test(unless) ? `\`${unless}\`` : unless;
}
