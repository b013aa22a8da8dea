/** A file imported `with { type: "file" }`: its path, inside the executable once that is compiled. */
declare module "*.bin.zst" {
  const path: string;
  export default path;
}
