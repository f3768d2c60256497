/** The results kept on this device, in IndexedDB, until somebody deletes them. No name is asked for and none is kept. */

import { PLACE, note, noted } from "./notes.js";

const STORE = "results";
const EXPECTED = "results-kept";

/** @returns {Promise<IDBDatabase>} */
function open() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(`clinquant${PLACE}`, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id", autoIncrement: true });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/**
 * @template T
 * @param {IDBTransactionMode} mode
 * @param {(store: IDBObjectStore) => IDBRequest<T>} act
 * @returns {Promise<T>}
 */
async function within(mode, act) {
  const database = await open();
  try {
    return await new Promise((resolve, reject) => {
      const transaction = database.transaction(STORE, mode);
      const request = act(transaction.objectStore(STORE));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = transaction.onerror = () => reject(transaction.error);
    });
  } finally {
    database.close();
  }
}

/** Keeps a result; returns its number. @param {Kept} kept @returns {Promise<number>} */
export async function keep(kept) {
  const id = Number(await within("readwrite", (store) => store.add(kept)));
  await remember();
  return id;
}

/** All results, the newest first. @returns {Promise<Kept[]>} */
export async function all() {
  return (await within("readonly", (store) => store.getAll())).reverse();
}

/** @param {number} id @returns {Promise<Kept | undefined>} */
export function find(id) {
  return within("readonly", (store) => store.get(id));
}

/** @param {number} id */
export async function remove(id) {
  await within("readwrite", (store) => store.delete(id));
  await remember();
}

export async function clear() {
  await within("readwrite", (store) => store.clear());
  await remember();
}

/** How many results the browser has thrown away since they were kept. @returns {Promise<number>} */
export async function lost() {
  const expected = Number(noted(EXPECTED) ?? 0);
  return Math.max(0, expected - (await within("readonly", (store) => store.count())));
}

/** Writes down how many there are now, so that a loss shows. */
export async function remember() {
  note(EXPECTED, String(await within("readonly", (store) => store.count())));
}
