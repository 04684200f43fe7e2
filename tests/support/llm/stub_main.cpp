// llm_stub KIND [--adapters USEFUL,USELESS,HARMFUL] [--seed N] [--port N] [--faults JSON]
//          [--files FOLDER] [--examples SEARCH,SELECT,REPORT]
//
// Serves the toy model as a server of that kind (stub_api.hpp) until it is killed, and prints one
// line with its port when it listens.  With --files it first writes the adapters and the splits.

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <map>
#include <string>

#include "tests/support/llm/stub_server.hpp"

int main(int argc, char** argv) {
  using namespace paretod::testing;
  try {
    std::map<std::string, std::string> options{
        {"--adapters", "3,3,1"}, {"--seed", "1"}, {"--port", "0"},
        {"--faults", "{}"},      {"--files", ""}, {"--examples", "100,60,200"}};
    bool known = argc % 2 == 0;
    for (int i = 2; known && i + 1 < argc; i += 2) {
      known = options.contains(argv[i]);
      options[argv[i]] = argv[i + 1];
    }
    unsigned counts[3] = {};
    unsigned examples[3] = {};
    known = known &&
            std::sscanf(options["--adapters"].c_str(), "%u,%u,%u", counts, counts + 1,
                        counts + 2) == 3 &&
            std::sscanf(options["--examples"].c_str(), "%u,%u,%u", examples, examples + 1,
                        examples + 2) == 3;
    if (!known) {
      std::fprintf(stderr, "usage: see tests/support/llm/stub_main.cpp\n");
      return 2;
    }
    const std::string kind = argv[1];
    ToyOptions toy;
    toy.seed = std::stoull(options["--seed"]);
    toy.useful = counts[0];
    toy.useless = counts[1];
    toy.harmful = counts[2];
    // llama.cpp adds deltas up, all others factors.
    toy.factor_space =
        kind != "llama_cpp" || options["--faults"].find("\"pairs\"") != std::string::npos;
    const auto model = std::make_shared<const ToyModel>(toy);
    if (!options["--files"].empty()) {
      write_toy_files(*model, options["--files"], examples[0], examples[1], examples[2]);
    }
    StubServer server(make_stub_api(kind, model), options["--faults"],
                      std::stoi(options["--port"]));
    std::printf("%d\n", server.port());
    std::fflush(stdout);
    server.wait();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "llm_stub: %s\n", error.what());
    return 1;
  }
  return 0;
}
