#include "evaluators/merge/merge_evaluator.hpp"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "evaluators/merge/device_merge_evaluator.hpp"
#include "evaluators/merge/merged_scorer.hpp"
#include "evaluators/merge/native_merge_evaluator.hpp"
#include "evaluators/merge/program_merge_evaluator.hpp"
#include "evaluators/merge/weights_directory.hpp"
#include "evaluators/process/process_evaluator.hpp"

namespace paretod {

template <>
Fields<MergeConfig> describe() {
  return Fields<MergeConfig>()
      .add("recipe", &MergeConfig::recipe,
           "the merge recipe (config/schemas/merge-recipe.json): models, method, groups, and the "
           "numbers that are not searched",
           std::vector<std::string>{})
      .add("scorer", &MergeConfig::scorer,
           "native code that scores merged weights; else `argv` names a program",
           std::vector<std::string>{})
      .add("scorer_file", &MergeConfig::scorer_file, "what the scorer is set up from",
           std::vector<std::string>{})
      .add("search", &MergeConfig::search,
           "which numbers of the recipe a job chooses: weight, density, lambda, t (slerp)")
      .add("coefficients", &MergeConfig::coefficients,
           "free: a weight per source; affine: they sum to one; simplex: and none is negative",
           std::vector<std::string>{"free", "affine", "simplex"})
      .add("weight_low", &MergeConfig::weight_low, "least weight, where they are free")
      .add("weight_high", &MergeConfig::weight_high, "greatest weight, where they are free")
      .add("density_low", &MergeConfig::density_low, "least density", 0, 1)
      .add("density_high", &MergeConfig::density_high, "greatest density", 0, 1)
      .add("lambda_low", &MergeConfig::lambda_low, "least lambda")
      .add("lambda_high", &MergeConfig::lambda_high, "greatest lambda")
      .add("slots", &MergeConfig::slots,
           "requests accepted at once, half of them merged together; 0 chooses", 0, 1024)
      .add("merge_memory_mb", &MergeConfig::merge_memory_mb,
           "MiB that merging may take, a third of them for buffers, the others for merged models; "
           "0: a quarter of the machine's memory",
           0, 1e9)
      .add("weights_directory", &MergeConfig::weights_directory,
           "where merged models for a program lie; default: /dev/shm, else the temporary directory",
           std::vector<std::string>{})
      .add("device", &MergeConfig::device,
           "what merges: cpu, or cuda: NVIDIA GPUs, in processes of their own (docs/cuda.md)",
           std::vector<std::string>{"cpu", "cuda"})
      .add("devices", &MergeConfig::devices,
           "cuda: numbers of the GPUs, a process for each; one named twice has two")
      .add("device_memory_mb", &MergeConfig::device_memory_mb,
           "cuda: MiB of its GPU that a process may use; 0: nine tenths of what is there, shared "
           "by the processes of a GPU",
           0, 1e9)
      .add("device_program", &MergeConfig::device_program,
           "cuda: the program; default: paretod-cuda-evaluator beside the daemon, else on PATH",
           std::vector<std::string>{});
}

namespace {

bool is_own_field(const std::string& name) {
  const auto fields = describe<MergeConfig>();
  return std::any_of(fields.infos().begin(), fields.infos().end(),
                     [&](const FieldInfo& field) { return field.name == name; });
}

std::string default_directory() {
  std::error_code failure;
  if (std::filesystem::is_directory("/dev/shm", failure)) return "/dev/shm";
  return std::filesystem::temp_directory_path(failure).string();
}

/// Problems of a recipe, in the block that names it.
Error at_recipe(const Error& error) {
  std::string text = error.message;
  for (const Problem& problem : error.problems) {
    text += "; " + problem.pointer + ": " + problem.message;
  }
  return Error{error.kind, "the recipe cannot be used", {{"/recipe", std::move(text)}}};
}

/// What a block's recipe names.
struct Models {
  MergeSpace space;
  MergeSources sources;
};
Result<Models> open_models(const MergeConfig& config, const EvaluatorEnvironment& environment,
                           std::optional<DType> dtype) {
  const auto path = (std::filesystem::path(environment.base_directory) / config.recipe)
                        .lexically_normal()
                        .string();
  auto recipe = load_recipe(path);
  if (!recipe) return at_recipe(recipe.error());
  auto sources = MergeSources::open(recipe->paths, recipe->rule, dtype ? dtype : recipe->dtype);
  if (!sources) return at_recipe(sources.error());
  auto space = MergeSpace::make(std::move(*recipe), *sources, config);
  if (!space) return space.error();
  return Models{std::move(*space), std::move(*sources)};
}

Result<MergeSetup> set_up(const MergeConfig& config, const EvaluatorEnvironment& environment,
                          std::optional<DType> dtype, const MergeEngineFactory& make_engine) {
  auto models = open_models(config, environment, dtype);
  if (!models) return models.error();
  MergeSetup setup{std::move(models->space),
                   std::make_shared<const MergeSources>(std::move(models->sources)), nullptr,
                   default_merge_memory(), std::max<std::size_t>(environment.threads, 1)};
  if (config.merge_memory_mb > 0) {
    setup.memory_bytes = static_cast<std::uint64_t>(config.merge_memory_mb) << 20;
  }
  auto engine = make_engine(setup.sources, setup.space.recipe().rule,
                            {setup.threads, setup.memory_bytes / 3, 0});
  if (!engine) return engine.error();
  setup.engine = std::move(*engine);
  setup.memory_bytes -= setup.memory_bytes / 3;
  return setup;
}

Result<std::unique_ptr<Evaluator>> create_native(const MergeConfig& config,
                                                 const EvaluatorEnvironment& environment,
                                                 const MergeEngineFactory& engine) {
  const std::vector<MergedScorerType> types = merged_scorer_types();
  const auto type = std::find_if(types.begin(), types.end(), [&](const MergedScorerType& known) {
    return known.name == config.scorer;
  });
  if (type == types.end()) {
    std::string known;
    for (const auto& each : types) known += (known.empty() ? "" : ", ") + each.name;
    return invalid("the scorer cannot be set up",
                   {{"/scorer", "has to be one of: " + (known.empty() ? "none" : known)}});
  }
  std::string file = config.scorer_file;
  if (!file.empty()) {
    file = (std::filesystem::path(environment.base_directory) / file).lexically_normal().string();
  }
  auto scorer = type->create(file);
  if (!scorer) {
    return invalid("the scorer cannot be set up", {{"/scorer_file", scorer.error().text()}});
  }
  auto setup = set_up(config, environment, (*scorer)->describe().dtype, engine);
  if (!setup) return setup.error();
  return NativeMergeEvaluator::create(std::move(*setup), std::move(*scorer),
                                      static_cast<std::size_t>(config.slots));
}

/// Both halves of a block.
struct Block {
  MergeConfig merge;
  ProcessConfig process;
};
Result<Block> bind(const ParamValues& values) {
  ParamValues own;
  ParamValues common;
  for (const auto& [name, value] : values) (is_own_field(name) ? own : common).emplace(name, value);
  auto config = describe<MergeConfig>().bind(own, "");
  auto process = describe<ProcessConfig>().bind(common, "");
  Problems problems;
  if (!config) problems = config.error().problems;
  if (!process) {
    const Problems& more = process.error().problems;
    problems.insert(problems.end(), more.begin(), more.end());
  }
  if (problems.empty() && config->recipe.empty()) {
    problems.push_back({"/recipe", "has to name a merge recipe"});
  }
  if (problems.empty() && config->scorer.empty() == process->argv.empty()) {
    problems.push_back({"/scorer", config->scorer.empty()
                                       ? "or /argv has to say what scores the merged models"
                                       : "and /argv are two ways to score; leave one out"});
  }
  if (!problems.empty()) return invalid("the evaluator is not configured", std::move(problems));
  return Block{std::move(*config), std::move(*process)};
}

Result<std::unique_ptr<MergeEngine>> processor_engine(std::shared_ptr<const MergeSources> sources,
                                                      const MergeRule& rule,
                                                      const MergeLimits& limits) {
  auto engine = cpu_merge_engine(std::move(sources), rule, limits);
  if (engine) return engine;
  return invalid("the merge does not fit", {{"/merge_memory_mb", engine.error().text()}});
}

Result<std::unique_ptr<Evaluator>> create(const ParamValues& values,
                                          const EvaluatorEnvironment& environment) {
  const auto block = bind(values);
  if (!block) return block.error();
  if (block->merge.device == "cpu") {
    return create_merge_evaluator(values, environment, processor_engine);
  }
  // Recipes are read here too: for errors, and for exports.
  auto models = open_models(block->merge, environment, std::nullopt);
  if (!models) return models.error();
  return start_device_merges(values, block->merge, block->process, environment,
                             std::move(models->space));
}

}  // namespace

Result<std::unique_ptr<Evaluator>> create_merge_evaluator(const ParamValues& values,
                                                          const EvaluatorEnvironment& environment,
                                                          const MergeEngineFactory& engine) {
  const auto block = bind(values);
  if (!block) return block.error();
  const MergeConfig& config = block->merge;
  if (!config.scorer.empty()) return create_native(config, environment, engine);
  auto setup = set_up(config, environment, std::nullopt, engine);
  if (!setup) return setup.error();
  const std::string parent =
      config.weights_directory.empty()
          ? default_directory()
          : (std::filesystem::path(environment.base_directory) / config.weights_directory)
                .lexically_normal()
                .string();
  auto directory = WeightsDirectory::open(parent);
  if (!directory) {
    return invalid("the weights have no place", {{"/weights_directory", directory.error().text()}});
  }
  auto program = ProcessEvaluator::start(block->process, environment, "merge");
  if (!program) return program.error();
  return ProgramMergeEvaluator::create(std::move(*setup), std::move(*program),
                                       std::move(*directory),
                                       static_cast<std::size_t>(config.slots));
}

EvaluatorType merge_evaluator_type() {
  EvaluatorType type;
  type.name = "merge";
  type.summary = "Models merged by a recipe, scored by native code or by your own program.";
  type.fields = describe<MergeConfig>().infos();
  const auto process = describe<ProcessConfig>();
  type.fields.insert(type.fields.end(), process.infos().begin(), process.infos().end());
  type.create = create;
  return type;
}

}  // namespace paretod
