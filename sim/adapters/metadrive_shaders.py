"""What the graphics card draws in MetaDrive's scene: the ground and the sky.

MetaDrive's own ground shader takes a class per texel and filters shadows nine times a pixel; without a graphics card
it is the dearest part of a step, and lines fall apart in the distance. This one reads how much of a texel is road and
paint, averages over what a pixel covers, and says in alpha what the pixel shows, so that picture and road mask come
out of one pass and belong to each other.
"""

ROAD_ALPHA = 128
"""Alpha of a pixel that shows the road; everything else is opaque (255)."""

GROUND_FRAGMENT = """#version 330
// Of panda3d's terrain mesh.
uniform struct {
  sampler2D data_texture;
  sampler2D heightfield;
  int view_index;
  int terrain_size;
  int chunk_size;
} ShaderTerrainMesh;

uniform sampler2D surface_tex;   // red: road, green: white paint, blue: yellow paint
uniform sampler2D road_tex;
uniform sampler2D grass_tex;
uniform float surface_ratio;     // size of the terrain over size of the surface texture
uniform float height_scale;
uniform vec3 sun_direction;
uniform vec3 sun_colour;
uniform vec3 ambient_colour;
uniform vec3 haze_colour;
uniform float haze_m;
uniform vec3 grass_tint;
uniform float road_brightness;

in vec2 terrain_uv;
in vec3 vtx_pos;
in vec4 projecteds[1];
out vec4 color;

const int TAPS = 6;
const float TERRAIN_M = 2048.0;

float height_m(vec2 uv) { return texture(ShaderTerrainMesh.heightfield, uv).x * height_scale; }

void main() {
  vec2 uv = (terrain_uv - 0.5) * surface_ratio + 0.5;
  vec2 across = dFdx(uv), along = dFdy(uv);
  vec3 surface = vec3(0.0);
  for (int i = 0; i < TAPS; ++i) {
    vec2 tap = uv + along * ((float(i) + 0.5) / float(TAPS) - 0.5);
    surface += textureGrad(surface_tex, tap, across, along / float(TAPS)).rgb;
  }
  surface /= float(TAPS);

  vec2 metres = terrain_uv * TERRAIN_M;
  vec3 grass = texture(grass_tex, metres / 6.0).rgb * (0.55 + 0.9 * texture(grass_tex, metres / 67.0).g) * grass_tint;
  vec3 road = texture(road_tex, metres / 9.0).rgb * (0.6 + 0.8 * texture(road_tex, metres / 83.0).g)
            * road_brightness;
  vec3 paint_wear = vec3(0.75 + 0.5 * texture(road_tex, metres / 3.0).g);
  vec3 ground = mix(grass, road, surface.r);
  ground = mix(ground, vec3(0.86, 0.86, 0.84) * paint_wear, min(surface.g, 1.0) * 0.92);
  ground = mix(ground, vec3(0.80, 0.62, 0.16) * paint_wear, min(surface.b, 1.0) * 0.92);

  vec2 texel = vec2(1.0 / TERRAIN_M, 0.0);
  float here_m = height_m(terrain_uv);
  vec2 fall = here_m - vec2(height_m(terrain_uv + texel.xy), height_m(terrain_uv + texel.yx));
  vec3 normal = normalize(vec3(fall, 1.0));
  vec3 lit = ground * (ambient_colour + sun_colour * max(dot(normal, sun_direction), 0.0));

  float distance_m = 1.0 / gl_FragCoord.w;
  lit = mix(haze_colour, lit, exp(-distance_m / haze_m));
  float is_road = step(0.5, texture(surface_tex, uv).r);
  color = vec4(lit, mix(1.0, 128.0 / 255.0, is_road));
}
"""

SKY_VERTEX = """#version 330
in vec4 p3d_Vertex;
uniform mat4 p3d_ModelViewProjectionMatrix;
out vec3 direction;
void main() {
  direction = p3d_Vertex.xyz;
  gl_Position = p3d_ModelViewProjectionMatrix * p3d_Vertex;
}
"""

SKY_FRAGMENT = """#version 330
uniform sampler2D sky_tex;       // columns: all around; rows: from the horizon (bottom) to the zenith
in vec3 direction;
out vec4 color;
void main() {
  vec3 view = normalize(direction);
  float around = atan(view.y, view.x) / 6.2831853;
  color = vec4(textureLod(sky_tex, vec2(around, clamp(view.z * 1.6, 0.0, 1.0)), 0.0).rgb, 1.0);
}
"""
