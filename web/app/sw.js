/* The service worker: holds one release whole, hash by hash, and answers from it alone. `clinquant app` writes RELEASE above. */

/** Caches belong to an origin, which may serve several apps: each has its place in the name. */
const OURS = `clinquant ${new URL(self.registration.scope).pathname} `;
const HELD = OURS + RELEASE.release;
const NOTES = "clinquant-notes";

self.addEventListener("install", (event) => event.waitUntil(install()));
self.addEventListener("activate", (event) => event.waitUntil(activate()));
self.addEventListener("fetch", (event) => event.respondWith(respond(event.request)));
self.addEventListener("message", (event) => event.waitUntil(refill().then((state) => event.source.postMessage(state))));

/** A first release comes by itself; another one only when the user chose it, and never an older bundle. */
async function install() {
  const standing = await note("standing");
  if (standing && standing.release !== RELEASE.release) {
    const chosen = await note("chosen");
    if (older(RELEASE, standing)) throw new Error("an older bundle is refused");
    if (!chosen || chosen.release !== RELEASE.release) throw new Error("this update was not chosen");
  }
  const state = await fill();
  if (state.missing.length) throw new Error(`not fetched whole: ${state.missing[0]}`);
  await self.skipWaiting();
}

async function activate() {
  const { release, bundle_version, bundle_created, manifest_sha256 } = RELEASE;
  await (await caches.open(NOTES)).put(noteUrl("standing"), Response.json({ release, bundle_version, bundle_created, manifest_sha256 }));
  for (const name of await caches.keys()) {
    if (name.startsWith(OURS) && name !== HELD) await caches.delete(name);
  }
  await self.clients.claim();
}

/** Fetches what is not held yet; a file that the standing release holds with the same hash is taken from there. */
async function fill() {
  const cache = await caches.open(HELD);
  const missing = [];
  for (const [name, sha256] of Object.entries(RELEASE.files)) {
    const url = new URL(name, self.registration.scope).href;
    if (await cache.match(url)) continue;
    const response =
      (await intact(url, await caches.match(url), sha256)) ??
      (await intact(url, await get(url, "default"), sha256)) ??
      (await intact(url, await get(url, "reload"), sha256));
    if (response) await cache.put(url, response);
    else missing.push(name);
  }
  return { release: RELEASE.release, missing };
}

/** As `fill`; not where everything was discarded and the server has another release by now, which another worker will hold. */
async function refill() {
  const url = new URL("app.json", self.registration.scope).href;
  const other = !(await holdsPage()) && !(await intact(url, await get(url, "reload"), RELEASE.files["app.json"]));
  return other ? { release: RELEASE.release, missing: ["app.json"] } : fill();
}

async function holdsPage() {
  return Boolean(await (await caches.open(HELD)).match(new URL("index.html", self.registration.scope).href));
}

async function get(url, cache) {
  return fetch(url, { cache, credentials: "omit" }).catch(() => undefined);
}

async function intact(url, response, sha256) {
  if (!response || !response.ok) return undefined;
  const bytes = await response.arrayBuffer();
  const digest = Array.from(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)), (byte) =>
    byte.toString(16).padStart(2, "0"),
  ).join("");
  if (digest !== sha256) return undefined;
  return new Response(bytes, { headers: { "Content-Type": type(url), ...HEADERS } });
}

const HEADERS = {
  "Content-Security-Policy":
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
};

const TYPES = {
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  mjs: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
  json: "application/json",
  webmanifest: "application/manifest+json",
  svg: "image/svg+xml",
  png: "image/png",
  md: "text/markdown; charset=utf-8",
  csv: "text/csv; charset=utf-8",
};

function type(url) {
  return TYPES[url.split("?")[0].split(".").pop()] ?? "application/octet-stream";
}

/**
 * From the release that is held; the network is asked only for `app.json?offered` (is there an update?) and for what was evicted.
 * Where the page itself was evicted nothing is held any more: then the network answers, as on a first visit.
 */
async function respond(request) {
  const url = new URL(request.url);
  if (url.origin !== self.location.origin || request.method !== "GET") return Response.error();
  if (url.search === "?offered") return fetch(url, { cache: "no-store", credentials: "omit" });
  const path = request.mode === "navigate" ? "index.html" : decodeURI(url.pathname.slice(new URL(self.registration.scope).pathname.length));
  const sha256 = RELEASE.files[path];
  if (!sha256) return new Response("not part of this app", { status: 404 });
  const file = new URL(path, self.registration.scope).href;
  const held = await (await caches.open(HELD)).match(file);
  if (!held && !(await holdsPage())) return fetch(request);
  return held ?? (await intact(file, await get(file, "reload"), sha256)) ?? Response.error();
}

/** The same rule as in modules/update.js: by version, and where that is equal by date. */
function older(offered, standing) {
  if (offered.bundle_version !== standing.bundle_version) return offered.bundle_version < standing.bundle_version;
  return offered.manifest_sha256 !== standing.manifest_sha256 && offered.bundle_created < standing.bundle_created;
}

function noteUrl(name) {
  return new URL(`note-${name}`, self.registration.scope).href;
}

async function note(name) {
  const response = await (await caches.open(NOTES)).match(noteUrl(name));
  return response && response.json();
}
