// A camera on a sphere around what it looks at; x points right, y down and z forward, as in the files.

const add = (a, b, factor = 1) => a.map((value, axis) => value + factor * b[axis]);
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const normalised = (a) => a.map((value) => value / Math.max(Math.hypot(...a), 1e-30));

class OrbitCamera {
  constructor({ position, target, up, field_of_view_degrees }) {
    this.up = normalised(up);
    const forward = add(target, position, -1);
    this.first = { target: target.slice(), distance: Math.max(Math.hypot(...forward), 1e-6) };
    this.fieldOfView = (field_of_view_degrees * Math.PI) / 180;
    const level = add(normalised(forward), this.up, -dot(normalised(forward), this.up));
    this.north = normalised(Math.hypot(...level) > 1e-3 ? level : this.anyLevel());
    this.east = cross(this.north, this.up);
    this.first.pitch = Math.asin(Math.max(-1, Math.min(1, dot(normalised(forward), this.up))));
    this.reset();
  }

  anyLevel() {
    const axis = Math.abs(this.up[0]) < 0.9 ? [1, 0, 0] : [0, 1, 0];
    return add(axis, this.up, -dot(axis, this.up));
  }

  reset() {
    Object.assign(this, { target: this.first.target.slice(), distance: this.first.distance });
    this.pitch = this.first.pitch;
    this.yaw = 0;
  }

  rotate(yaw, pitch) {
    this.yaw += yaw;
    this.pitch = Math.max(-1.55, Math.min(1.55, this.pitch + pitch));
  }

  pan(right, down) {
    const view = this.view(1);
    this.target = add(add(this.target, view.right, right * this.distance), view.down, down * this.distance);
  }

  advance(amount) {
    this.target = add(this.target, this.view(1).forward, amount * this.distance);
  }

  zoom(factor) {
    this.distance = Math.max(this.first.distance * 1e-4, Math.min(this.first.distance * 1e4, this.distance * factor));
  }

  view(height) {
    const level = add(this.north.map((value) => value * Math.cos(this.yaw)), this.east, Math.sin(this.yaw));
    const forward = add(level.map((value) => value * Math.cos(this.pitch)), this.up, Math.sin(this.pitch));
    const right = normalised(cross(forward, this.up)), down = cross(forward, right);
    const centre = add(this.target, forward, -this.distance);
    return { right, down, forward, centre, focal: (0.5 * height) / Math.tan(0.5 * this.fieldOfView) };
  }

  // Looks at the Gaussian nearest to the viewer within a few pixels of a place on the screen.
  lookAt(x, y, width, height, positions) {
    const view = this.view(height);
    let nearest = Infinity, found = null;
    for (let i = 0; i < positions.length; i += 3) {
      const p = [positions[i] - view.centre[0], positions[i + 1] - view.centre[1], positions[i + 2] - view.centre[2]];
      const depth = dot(p, view.forward);
      if (depth < 0.01 || depth >= nearest) continue;
      const dx = (view.focal * dot(p, view.right)) / depth + width / 2 - x;
      const dy = (view.focal * dot(p, view.down)) / depth + height / 2 - y;
      if (dx * dx + dy * dy < 64) [nearest, found] = [depth, Array.from(positions.subarray(i, i + 3))];
    }
    if (found) [this.target, this.distance] = [found, Math.max(nearest, 1e-6)];
  }
}
