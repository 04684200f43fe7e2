#pragma once
// A small space with a parameter of every type and conditions between them.

#include <nlohmann/json.hpp>

#include "adapters/json/space_json.hpp"
#include "optimizers/core/space.hpp"

namespace paretod {

inline constexpr const char* mixed_space_text = R"([
  {"name":"rate","type":"real","low":0.001,"high":1,"log":true},
  {"name":"layers","type":"integer","low":1,"high":6},
  {"name":"kind","type":"categorical","choices":["none","dropout","both"]},
  {"name":"share","type":"real","low":0,"high":0.5,"when":{"kind":["dropout","both"]}},
  {"name":"deep","type":"boolean","when":{"layers":[5,6]}},
  {"name":"deepest","type":"boolean","when":{"deep":true}},
  {"name":"alpha","type":"affine","size":3},
  {"name":"mix","type":"simplex","size":3,"labels":["a","b","c"]},
  {"name":"parts","type":"subset","choices":["p","q","r","s"],"least":1,"most":3},
  {"name":"order","type":"permutation","choices":["u","v","w","x"]},
  {"name":"steps","type":"schedule","low":0,"high":999,"whole":true,"least":2,"most":4,
   "choices":["ddim","dpm"],"mask":["down","mid","up"]},
  {"name":"nodes","type":"schedule","low":0.001,"high":1,"least":2,"most":3}
])";

inline SearchSpace mixed_space() {
  return SearchSpace::make(
             parameters_from_json(nlohmann::json::parse(mixed_space_text), "/space").value())
      .value();
}

}  // namespace paretod
