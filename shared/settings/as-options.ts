import type { NamedTables, Schema, SettingEntry, SettingTable, SettingValue } from './schema.ts';
import type { Settings } from './settings.ts';

/** Options by the names that commander gives them. */
export type Options = Record<string, string | boolean | readonly string[] | undefined>;

/** What the top of a file says, as options say it: `port-fs = "unix:///x"` is `--port-fs unix:///x`. */
export function settingsAsOptions(keys: Schema['keys'], file: Settings): Options {
  const settings = Object.entries(keys).filter(([, entry]) => isSetting(entry));
  return Object.fromEntries(settings.map(([key]) => [optionName(key), asOption(file.get(key)?.value)]));
}

/** `peer-cid` is `peerCid`, as commander has it. */
export function optionName(key: string): string {
  return key.replace(/-[a-z]/g, (part) => part[1]!.toUpperCase());
}

export function isSetting(entry: SettingEntry | SettingTable | NamedTables): entry is SettingEntry {
  return entry.kind !== 'table' && entry.kind !== 'named';
}

export function withoutUndefined(options: object): Options {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

function asOption(value: SettingValue | undefined): Options[string] {
  return typeof value === 'number' ? `${value}` : value;
}
