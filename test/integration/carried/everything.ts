import { bulk } from './bulk.ts';
import { halfCloses } from './half-close.ts';
import { manyAtOnce } from './many.ts';
import { options } from './options.ts';
import { resets } from './reset.ts';
import { reverseForwards } from './reverse.ts';
import { slowReaders } from './slow-reader.ts';
import { datagrams } from './udp.ts';

/** All that every lane of every engine has to do. The last one takes another VM shim. */
export const everything = [
  manyAtOnce,
  halfCloses,
  resets,
  slowReaders,
  bulk,
  options,
  reverseForwards,
  datagrams,
];
