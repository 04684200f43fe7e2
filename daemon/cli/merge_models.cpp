#include "daemon/cli/merge_models.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <ostream>
#include <thread>
#include <utility>
#include <vector>

#include "adapters/json/parse.hpp"
#include "adapters/safetensors/model_files.hpp"
#include "adapters/safetensors/safetensors_writer.hpp"
#include "daemon/cli/format.hpp"
#include "daemon/cli/interrupt.hpp"
#include "daemon/cli/progress.hpp"
#include "daemon/cli/session.hpp"
#include "evaluators/merge/merge_engine.hpp"
#include "evaluators/merge/merge_outputs.hpp"
#include "evaluators/merge/merge_sources.hpp"

namespace paretod::cli {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

/// How the files begin that tell what a model is and how text becomes its input.
constexpr std::array<std::string_view, 10> companions{"config.json",   "generation_config",
                                                      "tokenizer",     "special_tokens_map",
                                                      "added_tokens",  "vocab",
                                                      "merges.txt",    "preprocessor_config",
                                                      "chat_template", "spiece.model"};
constexpr std::size_t bar_width = 24;

Error cannot_write(const std::string& path) {
  return Error{ErrorKind::exhausted, "cannot write " + path};
}

Result<void> write_text(const fs::path& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << text;
  out.close();
  if (!out) return cannot_write(path.string());
  return {};
}

bool is_companion(const std::string& name) {
  return std::any_of(companions.begin(), companions.end(),
                     [&](std::string_view begin) { return name.starts_with(begin); });
}

/// config.json says which dtype the weights have.
Result<void> copy_config(const fs::path& from, const fs::path& to, std::optional<DType> dtype) {
  std::ifstream in(from, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (dtype) {
    auto config = parse_json(text);
    if (config && config->is_object()) {
      const char* name = *dtype == DType::f32   ? "float32"
                         : *dtype == DType::f16 ? "float16"
                                                : "bfloat16";
      for (const char* field : {"torch_dtype", "dtype"}) {
        if (config->contains(field)) (*config)[field] = name;
      }
      text = config->dump(2) + "\n";
    }
  }
  return write_text(to, text);
}

Result<void> copy_companions(fs::path model, const fs::path& to, std::optional<DType> dtype) {
  std::error_code failure;
  if (model.filename() == model_file_name) model = model.parent_path();
  if (!fs::is_directory(model, failure)) return {};
  for (const auto& entry : fs::directory_iterator(model, failure)) {
    const std::string name = entry.path().filename().string();
    if (!is_companion(name) || !entry.is_regular_file(failure)) continue;
    if (name == "config.json") {
      if (auto copied = copy_config(entry.path(), to / name, dtype); !copied) return copied;
      continue;
    }
    fs::copy_file(entry.path(), to / name, fs::copy_options::overwrite_existing, failure);
    if (failure) return cannot_write((to / name).string());
  }
  return {};
}

/// A bar on a terminal, nothing elsewhere.
class MergeBar {
 public:
  explicit MergeBar(Console& console) : console_(console) {}
  ~MergeBar() {
    if (shown_) console_.err << "\r\033[K" << std::flush;
  }

  void show(std::uint64_t done, std::uint64_t total) {
    const auto now = Clock::now();
    if (!console_.terminal || (shown_ && now - last_ < std::chrono::milliseconds(100))) return;
    last_ = now;
    shown_ = true;
    const double part = total > 0 ? static_cast<double>(done) / static_cast<double>(total) : 1;
    const double seconds = std::chrono::duration<double>(now - start_).count();
    const double rate = seconds > 0 ? static_cast<double>(done) / seconds : 0;
    std::string line = progress_bar(part, bar_width) + " " +
                       std::to_string(static_cast<int>(100 * part)) + "% of " +
                       format_bytes(total) + ", " + format_bytes(static_cast<std::uint64_t>(rate)) +
                       "/s";
    if (rate > 0) line += ", " + format_seconds(static_cast<double>(total - done) / rate) + " left";
    console_.err << '\r' << cut(line, static_cast<std::size_t>(std::max(console_.width(), 20)))
                 << "\033[K" << std::flush;
  }

 private:
  Console& console_;
  const Clock::time_point start_ = Clock::now();
  Clock::time_point last_;
  bool shown_ = false;
};

struct Done {
  std::uint64_t bytes = 0;
  std::size_t files = 0;
  std::size_t tensors = 0;
  std::size_t copied = 0;
  double seconds = 0;
  std::string engine;
  std::vector<std::string> remarks;
  std::string warning;
};

Result<void> prepare(const fs::path& folder) {
  std::error_code failure;
  fs::create_directories(folder, failure);
  if (!fs::is_directory(folder, failure)) {
    return invalid("cannot make the folder " + folder.string());
  }
  for (const auto name : {model_file_name, model_index_name}) {
    if (fs::exists(folder / name, failure)) {
      return invalid(folder.string() + " holds a model already (" + std::string(name) +
                     "); name another folder, or remove it");
    }
  }
  return {};
}

Result<Done> write_merge(const MergeRecipe& recipe, const MergeOptions& options, Console& console) {
  const auto start = Clock::now();
  auto opened = MergeSources::open(recipe.paths, recipe.rule, recipe.dtype);
  if (!opened) return opened.error();
  const auto sources = std::make_shared<const MergeSources>(std::move(*opened));
  MergeLimits limits;
  limits.memory_bytes = options.memory_bytes;
  limits.threads = options.threads > 0 ? options.threads : std::thread::hardware_concurrency();
  auto engine = cpu_merge_engine(sources, recipe.rule, limits);
  if (!engine) return engine.error();
  if (Problems problems = check_candidate(recipe.rule, sources->source_count(), recipe.numbers);
      !problems.empty()) {
    return invalid("the recipe cannot be merged", in_recipe(recipe, std::move(problems)));
  }

  const fs::path folder(options.folder);
  if (auto ready = prepare(folder); !ready) return ready.error();
  Done done;
  done.engine = (*engine)->name();
  const std::string& original =
      recipe.paths.base.empty() ? recipe.paths.sources[0].path : recipe.paths.base;
  if (auto ok = copy_companions(original, folder, recipe.dtype); !ok) return ok.error();
  if (auto ok = write_text(folder / "recipe.json", recipe_text(recipe)); !ok) return ok.error();
  if (const auto yaml = mergekit_text(recipe, *sources)) {
    if (auto ok = write_text(folder / "mergekit.yml", *yaml); !ok) return ok.error();
    done.remarks = mergekit_obstacles(recipe);
  } else {
    done.remarks.push_back(yaml.error().message + ": no mergekit.yml");
  }

  auto writer = SafetensorsWriter::create(folder.string(), sources->layouts(), options.shard_bytes,
                                          {{"format", "pt"}});
  if (!writer) return writer.error();
  FileOutput files({&*writer, 1});
  const auto layouts = sources->layouts();
  FiniteCheck output(files, layouts);
  {
    Interrupt interrupt;
    MergeBar bar(console);
    const auto merged =
        (*engine)->merge({&recipe.numbers, 1}, output, [&](std::uint64_t at, std::uint64_t all) {
          bar.show(at, all);
          return !interrupt.pressed();
        });
    if (!merged) return merged.error();
  }
  if (auto committed = writer->commit(); !committed) return committed.error();
  done.warning = output.warning();
  done.bytes = sources->output_bytes();
  done.files = writer->file_names().size();
  done.tensors = sources->tensors().size();
  for (const MergedTensor& tensor : sources->tensors()) done.copied += tensor.copied ? 1 : 0;
  done.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return done;
}

}  // namespace

MergeOptions merge_options(const Arguments& arguments, std::string folder) {
  MergeOptions options;
  options.folder = std::move(folder);
  if (const auto mebibytes = arguments.count("--memory")) options.memory_bytes = *mebibytes << 20;
  if (const auto megabytes = arguments.count("--shard-size")) {
    options.shard_bytes = *megabytes * 1'000'000;
  }
  options.threads = arguments.count("--threads").value_or(0);
  return options;
}

int merge_models(const MergeRecipe& recipe, const MergeOptions& options, Console& console) {
  const auto done = write_merge(recipe, options, console);
  if (!done) return fail(console, done.error());
  console.out << "merged " << plural(recipe.paths.sources.size(), "model") << " by "
              << name_of(recipe.rule.method) << " into " << options.folder << ": "
              << plural(done->tensors, "tensor") << ", " << format_bytes(done->bytes) << " in "
              << plural(done->files, "file") << ", " << format_seconds(done->seconds) << " ("
              << done->engine << ")\n";
  if (done->copied > 0) {
    console.out << plural(done->copied, "tensor") << " of integers copied, not merged\n";
  }
  for (const std::string& remark : done->remarks) console.out << remark << '\n';
  if (!done->warning.empty()) console.err << "paretod: warning: " << done->warning << '\n';
  return exit_ok;
}

int merge_command(const Arguments& arguments, Console& console) {
  const auto file = arguments.text("--recipe");
  const auto folder = arguments.text("--output");
  if (!file || !folder) {
    return fail_usage(console, "paretod merge needs --recipe FILE and -o FOLDER");
  }
  const auto recipe = load_recipe(*file);
  if (!recipe) return fail(console, recipe.error());
  return merge_models(*recipe, merge_options(arguments, *folder), console);
}

}  // namespace paretod::cli
