/**
 * What a configuration file may say. One schema checks the file (read-settings.ts) and is what
 * docs/configuration.md is made of.
 */

/** A value that the file may have. `check` throws a BridgeError for a text that is wrong. */
export type Setting =
  | {
      readonly kind: 'text';
      readonly choices?: readonly string[];
      readonly check?: (text: string) => void;
    }
  /** A list of texts; one alone may stand without brackets. */
  | { readonly kind: 'texts'; readonly check?: (text: string) => void }
  | { readonly kind: 'flag' }
  | { readonly kind: 'number'; readonly min: number; readonly max: number }
  /** Seconds, to the millisecond. */
  | { readonly kind: 'seconds'; readonly min: number; readonly max: number };

export type SettingEntry = Setting & {
  /** For people, one sentence. */
  readonly about: string;
  /** What it is when nobody says it, as TOML, or in words. */
  readonly unless: string;
};

export interface SettingTable {
  readonly kind: 'table';
  readonly about: string;
  readonly keys: Readonly<Record<string, SettingEntry | SettingTable>>;
}

/** Tables of one shape, each under a name of its own: `[vm.NAME]`. */
export interface NamedTables {
  readonly kind: 'named';
  readonly about: string;
  /** What a name may be. */
  readonly name: RegExp;
  readonly each: SettingTable;
}

export interface Schema {
  readonly keys: Readonly<Record<string, SettingEntry | SettingTable | NamedTables>>;
}

export type SettingValue = string | readonly string[] | boolean | number;
