// Each Gaussian is a square as large as its ellipse on the screen (Zwicker et al. 2001, EWA splatting).

const VERTEX_SHADER = `#version 300 es
precision highp float;
precision highp int;
precision highp usampler2D;
uniform usampler2D splats, harmonics;
uniform mat3 cameraFromWorld;
uniform vec3 cameraCentre;
uniform vec2 focal, size;
uniform int numRest, harmonicsWidth;
uniform bool antialiased;
in vec2 corner;
in uint index;
out vec2 offset;
out vec4 colour;

vec3 coefficient(int k) {
  int place = int(index) * numRest + k;
  return (vec3(texelFetch(harmonics, ivec2(place % harmonicsWidth, place / harmonicsWidth), 0).rgb) - 128.0) / 128.0;
}

// In the file y points up and z back, so the direction is turned instead of the coefficients.
vec3 shade(vec3 base, vec3 d) {
  float x = d.x, y = -d.y, z = -d.z;
  vec3 sum = base;
  if (numRest >= 3) {
    sum += 0.4886025 * (-y * coefficient(0) + z * coefficient(1) - x * coefficient(2));
  }
  if (numRest >= 8) {
    sum += 1.0925484 * (x * y * coefficient(3) - y * z * coefficient(4) - x * z * coefficient(6))
      + 0.3153916 * (2.0 * z * z - x * x - y * y) * coefficient(5) + 0.5462742 * (x * x - y * y) * coefficient(7);
  }
  if (numRest >= 15) {
    sum += -0.5900436 * (y * (3.0 * x * x - y * y) * coefficient(8) + x * (x * x - 3.0 * y * y) * coefficient(14))
      + 2.8906114 * x * y * z * coefficient(9) + 1.4453057 * z * (x * x - y * y) * coefficient(13)
      - 0.4570458 * (4.0 * z * z - x * x - y * y) * (y * coefficient(10) + x * coefficient(12))
      + 0.3731763 * z * (2.0 * z * z - 3.0 * x * x - 3.0 * y * y) * coefficient(11);
  }
  return max(sum, 0.0);
}

void main() {
  ivec2 place = ivec2(int(index) % 1024 * 3, int(index) / 1024);
  uvec4 first = texelFetch(splats, place, 0);
  vec4 second = uintBitsToFloat(texelFetch(splats, place + ivec2(1, 0), 0));
  vec2 third = uintBitsToFloat(texelFetch(splats, place + ivec2(2, 0), 0).xy);
  vec3 centre = uintBitsToFloat(first.xyz);
  vec3 p = cameraFromWorld * (centre - cameraCentre);
  gl_Position = vec4(0.0, 0.0, 2.0, 1.0);
  if (p.z < 0.01) return;
  vec2 limit = 1.3 * size / (2.0 * focal);
  vec2 t = clamp(p.xy / p.z, -limit, limit);
  mat3 covariance = mat3(second.x, second.y, second.z, second.y, second.w, third.x, second.z, third.x, third.y);
  mat3 turned = cameraFromWorld * covariance * transpose(cameraFromWorld);
  vec3 jx = vec3(focal.x / p.z, 0.0, -focal.x * t.x / p.z), jy = vec3(0.0, focal.y / p.z, -focal.y * t.y / p.z);
  float a = dot(jx, turned * jx), b = dot(jx, turned * jy), c = dot(jy, turned * jy);
  float sharp = max(a * c - b * b, 0.0);
  a += 0.3;
  c += 0.3;
  float opacity = float(first.w >> 24) / 255.0;
  if (antialiased) opacity *= sqrt(sharp / (a * c - b * b));
  if (opacity < 1.0 / 255.0) return;
  float middle = 0.5 * (a + c), radius = length(vec2(0.5 * (a - c), b));
  float major = middle + radius, minor = max(middle - radius, 1e-6);
  // Where the exponential falls below 1/255, nothing is drawn.
  float reach = sqrt(2.0 * log(255.0 * opacity));
  vec2 axis = radius < 1e-9 ? vec2(1.0, 0.0) : abs(b) > 1e-9 ? normalize(vec2(b, major - a))
    : (a >= c ? vec2(1.0, 0.0) : vec2(0.0, 1.0));
  vec2 pixels = reach * (corner.x * sqrt(major) * axis + corner.y * sqrt(minor) * vec2(axis.y, -axis.x));
  vec2 screen = focal * p.xy / p.z;
  if (any(greaterThan(abs(screen) - reach * sqrt(major), 0.5 * size))) return;
  vec2 clip = 2.0 * (screen + pixels) / size;
  gl_Position = vec4(clip.x, -clip.y, 0.0, 1.0);
  offset = reach * corner;
  vec3 stored = vec3(first.w & 255u, (first.w >> 8) & 255u, (first.w >> 16) & 255u) / 255.0;
  colour = vec4(shade(0.2820948 * (stored - 0.5) / 0.15 + 0.5, normalize(centre - cameraCentre)), opacity);
}`;

const FRAGMENT_SHADER = `#version 300 es
precision highp float;
in vec2 offset;
in vec4 colour;
out vec4 pixel;

void main() {
  float alpha = min(colour.a * exp(-0.5 * dot(offset, offset)), 0.999);
  if (alpha < 1.0 / 255.0) discard;
  pixel = vec4(colour.rgb * alpha, alpha);
}`;
