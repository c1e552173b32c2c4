// Builds the pages into dist/ (`npm run build`), or the unit tests into the cache folder (`--tests`).
import { build } from "esbuild";
import { cp, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";

const here = path.dirname(fileURLToPath(import.meta.url));
const at = (...parts) => path.join(here, ...parts);
const PAGES = ["index", "studio", "watch"];

async function buildTests() {
  const out = at("node_modules/.cache/lightstick-tests");
  await rm(out, { recursive: true, force: true });
  const entryPoints = (await readdir(at("tests"))).filter((f) => f.endsWith(".test.ts")).map((f) => at("tests", f));
  await build({ entryPoints, outdir: out, bundle: true, platform: "node", format: "esm", target: "node20",
    outExtension: { ".js": ".mjs" }, sourcemap: "inline", logLevel: "warning" });
}

async function buildPages() {
  const out = at("dist");
  await rm(out, { recursive: true, force: true });
  await mkdir(path.join(out, "assets"), { recursive: true });
  // Names carry a hash of the content, so that the server may let browsers keep them for ever.
  const { metafile } = await build({
    absWorkingDir: here,
    entryPoints: PAGES.flatMap((page) => [`src/${page}/main.ts`, `src/${page}/page.css`]),
    outdir: "dist/assets", outbase: "src", entryNames: "[dir]-[hash]", assetNames: "[name]-[hash]",
    bundle: true, format: "esm", minify: true, target: ["es2022", "chrome111", "firefox115", "safari16.4"],
    metafile: true, logLevel: "warning", legalComments: "none",
  });
  const built = new Map();
  for (const [file, { entryPoint }] of Object.entries(metafile.outputs)) {
    if (entryPoint) built.set(entryPoint, "/" + path.posix.relative("dist", file));
  }
  for (const page of PAGES) {
    const html = (await readFile(at("pages", `${page}.html`), "utf8"))
      .replaceAll("{{script}}", need(built, `src/${page}/main.ts`))
      .replaceAll("{{style}}", need(built, `src/${page}/page.css`));
    await writeFile(path.join(out, `${page}.html`), html);
  }
  await cp(at("pages/icon.svg"), path.join(out, "assets/icon.svg"));
}

function need(built, entry) {
  const file = built.get(entry);
  if (!file) throw new Error(`nothing was built from ${entry}`);
  return file;
}

await (process.argv.includes("--tests") ? buildTests() : buildPages());
