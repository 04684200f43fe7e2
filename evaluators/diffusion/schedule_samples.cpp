// Draws from schedules of a "diffusion-schedule" evaluator outside the daemon: for pictures, and
// for comparisons on noise that no search saw.
//
//   paretod-schedule-samples CONFIG.json EVALUATOR <request >reply
//
//   {"schedules": [VALUE, ...], "replicates": [5000000, ...], "samples": 2000, "images": 20,
//    "threads": 1}
//   {"schedules": [{"fd": [one per replicate], "fd_heldout": [...], "kid": [...], "calls": 3,
//                   "blocks": 24, "multiply_adds": 835584.0, "images": [[byte per pixel], ...]}]}
//
// A VALUE is what a candidate of the evaluator has as its "schedule".  Images are the first of the
// first replicate, from 0 (-1) to 255 (1).  "kid" only if the evaluator measures it.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "adapters/json/object_reader.hpp"
#include "adapters/json/params_json.hpp"
#include "adapters/json/parse.hpp"
#include "adapters/json/space_json.hpp"
#include "evaluators/diffusion/schedule_config.hpp"
#include "evaluators/diffusion/schedule_scorer.hpp"
#include "evaluators/diffusion/simd.hpp"

namespace paretod {
namespace {

using nlohmann::json;

struct Request {
  json schedules;
  std::vector<std::uint64_t> replicates;
  std::size_t samples = 2000;
  std::size_t images = 0;
  std::size_t threads = 1;
};

Result<Request> read_request(const std::string& text) {
  const auto document = parse_json(text);
  if (!document) return document.error();
  Problems problems;
  ObjectReader reader(*document, "", problems);
  Request request;
  if (reader.is_object()) {
    if (const json* schedules = reader.require("schedules")) request.schedules = *schedules;
    if (!request.schedules.is_array()) reader.refuse("schedules", "must be an array");
    const json* replicates = reader.require("replicates");
    const bool counts = replicates != nullptr && replicates->is_array() && !replicates->empty() &&
                        std::all_of(replicates->begin(), replicates->end(),
                                    [](const json& value) { return value.is_number_unsigned(); });
    if (counts) {
      request.replicates = replicates->get<std::vector<std::uint64_t>>();
    } else {
      reader.refuse("replicates", "must be an array of one or more whole numbers");
    }
    request.samples = reader.count("samples").value_or(request.samples);
    request.images = reader.count("images").value_or(0);
    request.threads = std::max<std::size_t>(reader.count("threads").value_or(1), 1);
    if (request.samples < 2 || request.samples > ScheduleScorer::most_samples) {
      reader.refuse("samples", "must be 2 to " + std::to_string(ScheduleScorer::most_samples));
    }
    if (request.images > request.samples) reader.refuse("images", "must not exceed samples");
    reader.refuse_others();
  }
  if (!problems.empty()) return invalid("the request is not valid", std::move(problems));
  return request;
}

Result<ScheduleConfig> read_config(const std::string& path, const std::string& name) {
  std::ifstream stream(path);
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  if (!stream) return invalid(path + ": cannot be read");
  const auto document = parse_json(text);
  if (!document) return invalid(path + ": " + document.error().text());
  const json::json_pointer at("/evaluators/" + name);
  if (!document->contains(at) || document->at(at).value("type", "") != "diffusion-schedule") {
    return invalid(path + ": /evaluators/" + name + " is no diffusion-schedule evaluator");
  }
  json block = document->at(at);
  block.erase("type");
  const auto values = param_values_from_json(block, "/evaluators/" + name);
  if (!values) return values.error();
  return describe<ScheduleConfig>().bind(*values, "/evaluators/" + name);
}

std::vector<int> bytes_of(const float* image, std::size_t pixels) {
  std::vector<int> bytes;
  for (std::size_t p = 0; p < pixels; ++p) {
    bytes.push_back(
        static_cast<int>(std::lround((std::clamp(image[p], -1.0F, 1.0F) + 1) * 127.5F)));
  }
  return bytes;
}

Result<json> draw(ScheduleScorer& scorer, const std::vector<ScheduleNode>& nodes,
                  const Request& request) {
  std::vector<ScheduleRequest> each;
  for (const std::uint64_t replicate : request.replicates) {
    each.push_back({nodes, request.samples, replicate});
  }
  const std::atomic<bool> never = false;
  json out = {{"fd", json::array()}, {"fd_heldout", json::array()}, {"images", json::array()}};
  for (const ScheduleScore& score : scorer.score(each, request.threads, never)) {
    if (score.status != ScheduleScore::Status::ok) return invalid("its samples are not finite");
    out["fd"].push_back(score.distance);
    out["fd_heldout"].push_back(score.heldout);
    if (score.kernel_distance) out["kid"].push_back(*score.kernel_distance);
  }
  const ScheduleCost cost = scorer.cost(each.front());
  out["calls"] = cost.calls;
  out["blocks"] = cost.blocks;
  out["multiply_adds"] = cost.multiply_adds;
  ScheduleRequest shown = each.front();
  shown.samples = request.images;
  const std::size_t pixels = scorer.model().shape.pixels;
  const std::vector<float> images = scorer.images(shown, request.threads);
  for (std::size_t i = 0; i < request.images; ++i) {
    out["images"].push_back(bytes_of(images.data() + i * pixels, pixels));
  }
  return out;
}

Result<json> answer(const std::string& config_path, const std::string& name) {
  const auto request = read_request({std::istreambuf_iterator<char>(std::cin), {}});
  if (!request) return request.error();
  const auto config = read_config(config_path, name);
  if (!config) return config.error();
  ScheduleScorerOptions options;
  options.weights = config->weights;
  options.noise_seed = static_cast<std::uint64_t>(config->noise_seed);
  options.kernel_distance = config->kid;
  options.cache_bytes = 0;
  const auto model = std::filesystem::path(config_path).parent_path() / config->model;
  auto scorer = ScheduleScorer::load(model.string(), options, simd_kernels());
  if (!scorer) return scorer.error();
  const auto parameter = schedule_parameter(*config, scorer->model());
  if (!parameter) return parameter.error();
  const auto space = SearchSpace::make({*parameter});
  if (!space) return space.error();

  json reply = {{"schedules", json::array()}};
  for (std::size_t i = 0; i < request->schedules.size(); ++i) {
    const std::string at = "/schedules/" + std::to_string(i);
    const auto point = point_from_json(*space, {{"schedule", request->schedules[i]}}, at);
    if (!point) return point.error();
    const auto nodes = schedule_nodes(*space, *point, *config, scorer->model());
    if (!nodes) return nodes.error();
    auto drawn = draw(*scorer, *nodes, *request);
    if (!drawn) return invalid(at + ": " + drawn.error().text());
    reply["schedules"].push_back(std::move(*drawn));
  }
  return reply;
}

}  // namespace
}  // namespace paretod

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: paretod-schedule-samples CONFIG.json EVALUATOR <request >reply\n", stderr);
    return 2;
  }
  const auto reply = paretod::answer(argv[1], argv[2]);
  if (!reply) {
    std::fprintf(stderr, "paretod-schedule-samples: %s\n", reply.error().text().c_str());
    return 1;
  }
  std::printf("%s\n", reply->dump().c_str());
  return 0;
}
