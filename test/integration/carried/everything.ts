import { bulk } from './bulk.ts';
import { halfCloses } from './half-close.ts';
import { kills } from './kill.ts';
import { manyAtOnce } from './many.ts';
import { options } from './options.ts';
import { resets } from './reset.ts';
import { reverseForwards } from './reverse.ts';
import { slowReaders } from './slow-reader.ts';
import { datagrams } from './udp.ts';

/** All that every lane of every engine has to do. The last ones take other processes. */
export const everything = [
  manyAtOnce,
  halfCloses,
  resets,
  slowReaders,
  bulk,
  options,
  reverseForwards,
  datagrams,
  kills,
];
