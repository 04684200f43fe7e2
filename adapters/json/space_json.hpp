#pragma once
// Search spaces, candidates and objectives as JSON.  Pure functions; any thread.
//
//   {"name":"x","type":"real","low":0,"high":1,"log":true}
//   {"name":"n","type":"integer","low":1,"high":8}
//   {"name":"activation","type":"categorical","choices":["relu","gelu"]}
//   {"name":"flag","type":"boolean"}
//   {"name":"alpha","type":"affine","size":3,"labels":[..],"positions":[400,800,null],
//    "low":-2,"high":2}          labels and positions optional; bounds optional, none by default
//   {"name":"mix","type":"simplex","size":3,"labels":[..]}
//   {"name":"layers","type":"subset","choices":["a","b","c"],"least":1,"most":2}
//   {"name":"order","type":"permutation","choices":["a","b","c"]}
//   {"name":"steps","type":"schedule","low":0,"high":999,"whole":true,"least":4,"most":8,
//    "choices":["ddim","dpm"],"mask":["down","mid","up"]}      choices and mask optional
// Any of them may have "when":{"activation":["gelu"]}: active only if that earlier parameter has
// one of these values.

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "optimizers/core/result.hpp"
#include "optimizers/core/space.hpp"
#include "optimizers/core/trial.hpp"

namespace paretod {

/// Reads an array of parameters; reports every problem of form (types, missing and unknown
/// fields).  What the values mean is checked by SearchSpace::make.
Result<std::vector<Parameter>> parameters_from_json(const nlohmann::json& array,
                                                    const std::string& pointer);
nlohmann::json to_json(const std::vector<Parameter>& parameters);

/// A valid point by parameter name: {"x":0.5,"n":3,"activation":"relu","flag":true,
/// "alpha":[all K coefficients],"mix":[shares],"layers":["a"],"order":["b","a","c"],
/// "steps":[{"at":981,"choice":"ddim","mask":["mid"]}]}; plain nodes where steps carry no more.
/// Parameters that are not active are left out.
nlohmann::json candidate_json(const SearchSpace& space, const Point& point);
/// The inverse, validated.  Every active parameter must be given, and no other; coefficients must
/// sum to one within 1e-6, and the reference coefficient is then implied.
Result<Point> point_from_json(const SearchSpace& space, const nlohmann::json& object,
                              const std::string& pointer);

/// [{"name":"fd","goal":"minimize"}]; goal defaults to minimize.
Result<std::vector<Objective>> objectives_from_json(const nlohmann::json& array,
                                                    const std::string& pointer);
nlohmann::json to_json(const std::vector<Objective>& objectives);

}  // namespace paretod
