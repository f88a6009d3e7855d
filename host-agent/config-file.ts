import type { NamedTables, SettingEntry, SettingTable, SettingValue } from '../shared/settings/schema.ts';
import type { Settings } from '../shared/settings/settings.ts';
import type { HostOptions } from './config.ts';
import { HOST_SCHEMA } from './schema.ts';
import { splitVmName } from './vm-name.ts';

type Options = Record<string, string | boolean | readonly string[] | undefined>;

/** Of `[vm.NAME]`: they have defaults at the top of the file, so that a VM's own value is no option (see config.ts). */
const WITH_DEFAULTS = ['lane', 'legacy-peer'];

/**
 * What the file says, as options say it: `peer-cid = "3"` of `[vm.a]` is `--peer-cid a=3`. An option that is given wins, and so
 * does what options say of one VM.
 */
export function optionsWithFile(given: HostOptions, file: Settings): HostOptions {
  const options: Options = {};
  for (const [key, entry] of Object.entries(HOST_SCHEMA.keys))
    if (isSetting(entry) && !WITH_DEFAULTS.includes(key))
      options[optionName(key)] = asOption(file.get(key)?.value);
  const all: Options = { ...options, ...withoutUndefined(given) };
  for (const key of vmKeys()) {
    const name = optionName(key);
    const said = (given as Options)[name] as readonly string[] | undefined;
    // A VM has one link, however it is set up.
    const rivals = isLink(key) ? [...(given.connect ?? []), ...(given.listen ?? [])] : (said ?? []);
    const taken = rivals.map((each) => splitVmName(each).vm);
    const fromFile = file
      .names('vm')
      .filter((vm) => !taken.includes(vm))
      .flatMap((vm) => [file.get('vm', vm, key)?.value ?? []].flat().map((text) => `${vm}=${text}`));
    all[name] = [...fromFile, ...(said ?? [])];
  }
  return all as HostOptions;
}

/** Keys of `[vm.NAME]` that are options of the form `[NAME=]VALUE`. */
function vmKeys(): string[] {
  const { vm } = HOST_SCHEMA.keys;
  if (vm?.kind !== 'named') return [];
  return Object.entries(vm.each.keys)
    .filter(([key, entry]) => isSetting(entry) && !WITH_DEFAULTS.includes(key))
    .map(([key]) => key);
}

function isLink(key: string): boolean {
  return key === 'connect' || key === 'listen';
}

function isSetting(entry: SettingEntry | SettingTable | NamedTables): entry is SettingEntry {
  return entry.kind !== 'table' && entry.kind !== 'named';
}

/** `peer-cid` is `peerCid`, as commander has it. */
function optionName(key: string): string {
  return key.replace(/-[a-z]/g, (part) => part[1]!.toUpperCase());
}

function asOption(value: SettingValue | undefined): Options[string] {
  return typeof value === 'number' ? `${value}` : value;
}

function withoutUndefined(options: object): Options {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}
