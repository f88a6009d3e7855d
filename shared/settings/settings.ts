import type { SettingValue } from './schema.ts';

/** A value of a configuration file, with where it stands. */
export interface Said {
  readonly value: SettingValue;
  /** `/etc/portferry.toml:12`. */
  readonly where: string;
}

/** What a configuration file says, checked against its schema. */
export class Settings {
  private readonly said: ReadonlyMap<string, Said>;

  /** @param said by `settingKey` */
  constructor(said: ReadonlyMap<string, Said>) {
    this.said = said;
  }

  get(...path: string[]): Said | undefined {
    return this.said.get(settingKey(path));
  }

  text(...path: string[]): string | undefined {
    return this.get(...path)?.value as string | undefined;
  }

  texts(...path: string[]): readonly string[] | undefined {
    return this.get(...path)?.value as readonly string[] | undefined;
  }

  flag(...path: string[]): boolean | undefined {
    return this.get(...path)?.value as boolean | undefined;
  }

  number(...path: string[]): number | undefined {
    return this.get(...path)?.value as number | undefined;
  }

  /** The names under a table of named tables, in the order of the file. */
  names(table: string): string[] {
    return [...(this.texts(table) ?? [])];
  }
}

/** What stands for the keys on the way to a value; a name may hold dots. */
export function settingKey(path: readonly string[]): string {
  return JSON.stringify(path);
}

/** When there is no file. */
export const NO_SETTINGS = new Settings(new Map());
