// A worker: the order of the Gaussians from far to near, by a counting sort of their depths in 65536 steps.
let positions = null;
let depths = null;

function sortByDepth(forward) {
  const number = positions.length / 3, buckets = 65536;
  let low = Infinity, high = -Infinity;
  for (let i = 0, j = 0; i < number; i++, j += 3) {
    const depth = positions[j] * forward[0] + positions[j + 1] * forward[1] + positions[j + 2] * forward[2];
    depths[i] = depth;
    if (depth < low) low = depth;
    if (depth > high) high = depth;
  }
  const scale = (buckets - 1) / Math.max(high - low, 1e-30);
  const starts = new Uint32Array(buckets + 1), keys = new Uint16Array(number);
  for (let i = 0; i < number; i++) {
    const key = ((high - depths[i]) * scale) | 0;
    keys[i] = key;
    starts[key + 1]++;
  }
  for (let key = 0; key < buckets; key++) starts[key + 1] += starts[key];
  const order = new Uint32Array(number);
  for (let i = 0; i < number; i++) order[starts[keys[i]]++] = i;
  return order;
}

self.onmessage = (event) => {
  if (event.data.positions) {
    positions = event.data.positions;
    depths = new Float32Array(positions.length / 3);
    return;
  }
  const order = sortByDepth(event.data.forward);
  self.postMessage({ order }, [order.buffer]);
};
