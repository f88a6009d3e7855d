import {
  isSetting,
  type Options,
  optionName,
  settingsAsOptions,
  withoutUndefined,
} from '../shared/settings/as-options.ts';
import type { Settings } from '../shared/settings/settings.ts';
import type { HostOptions } from './config.ts';
import { HOST_SCHEMA } from './schema.ts';
import { splitVmName } from './vm-name.ts';

/** Of `[vm.NAME]`: they have defaults at the top of the file, so that a VM's own value is no option (see config.ts). */
const WITH_DEFAULTS = ['lane', 'legacy-peer'];

/**
 * What the file says, as options say it: `peer-cid = "3"` of `[vm.a]` is `--peer-cid a=3`. An option that is given wins, and so
 * does what options say of one VM.
 */
export function optionsWithFile(given: HostOptions, file: Settings): HostOptions {
  const options = settingsAsOptions(HOST_SCHEMA.keys, file);
  for (const key of WITH_DEFAULTS) delete options[optionName(key)];
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
