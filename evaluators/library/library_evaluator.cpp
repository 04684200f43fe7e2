#include "evaluators/library/library_evaluator.hpp"

#include <utility>

#include "evaluators/process/process_evaluator.hpp"

namespace paretod {
namespace {

/// What a library has instead of the program of a process evaluator.
struct LibraryConfig {
  std::string path;
  std::vector<std::string> args;
  std::string host;
};

}  // namespace

template <>
Fields<LibraryConfig> describe() {
  return Fields<LibraryConfig>()
      .add("path", &LibraryConfig::path,
           "the shared library, relative to the directory of the configuration file")
      .add("args", &LibraryConfig::args, "what the library's open() is given")
      .add("host", &LibraryConfig::host,
           "the program that loads it; default: paretod-library-host beside the daemon, else on "
           "PATH");
}

namespace {

bool is_own_field(const std::string& name) {
  const auto fields = describe<LibraryConfig>();
  for (const FieldInfo& field : fields.infos()) {
    if (field.name == name) return true;
  }
  return false;
}

Result<std::unique_ptr<Evaluator>> create(const ParamValues& values,
                                          const EvaluatorEnvironment& environment) {
  ParamValues own;
  ParamValues common;
  for (const auto& [name, value] : values) {
    // The program is not for the configuration to choose twice.
    (is_own_field(name) || name == "argv" ? own : common).emplace(name, value);
  }
  const auto library = describe<LibraryConfig>().bind(own, "");
  auto process = describe<ProcessConfig>().bind(common, "");
  Problems problems;
  if (!library) problems = library.error().problems;
  if (!process) {
    const Problems& more = process.error().problems;
    problems.insert(problems.end(), more.begin(), more.end());
  }
  if (problems.empty() && library->path.empty()) {
    problems.push_back({"/path", "has to name a shared library"});
  }
  if (!problems.empty()) return invalid("the evaluator is not configured", std::move(problems));

  process->argv = {
      library->host.empty() ? installed_program("paretod-library-host") : library->host,
      library->path};
  process->argv.insert(process->argv.end(), library->args.begin(), library->args.end());
  auto evaluator = ProcessEvaluator::start(*process, environment, "library");
  if (evaluator) return std::unique_ptr<Evaluator>(std::move(*evaluator));
  Error error = evaluator.error();
  for (Problem& problem : error.problems) {
    if (problem.pointer == "/argv") problem.pointer = "/path";
  }
  return error;
}

}  // namespace

EvaluatorType library_evaluator_type() {
  EvaluatorType type;
  type.name = "library";
  type.summary = "Your own shared library with a small C interface, in processes of its own.";
  type.fields = describe<LibraryConfig>().infos();
  const auto process = describe<ProcessConfig>();
  for (const FieldInfo& field : process.infos()) {
    if (field.name != "argv") type.fields.push_back(field);
  }
  type.create = create;
  return type;
}

}  // namespace paretod
