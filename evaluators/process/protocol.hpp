#pragma once
// Evaluator protocol, version 1 (DESIGN 6): one JSON object per line.  This codec knows lines and
// values, nothing of processes or sockets; everything that speaks the protocol uses it.  Pure
// functions; any thread.
//
//   <- {"paretod":1,"type":"hello","evaluator":"digits","slots":2,
//       "objectives":[{"name":"fd","goal":"minimize"}],"space":[..],"metrics":["mmd"],
//       "fidelity":{"unit":"images","default":1000},"paid":false,
//       "params":{"steps":{"type":"integer","default":10,"minimum":1,"description":".."}}}
//   -> {"type":"evaluate","id":"job:17:1","candidate":{"x":0.5},"fidelity":1000,"replicate":0,
//       "seed":1,"params":{"steps":10},"deadline_s":600}
//   <- {"type":"progress","id":"job:17:1","done":0.4,"partial":{"fd":31.2}}
//   <- {"type":"result","id":"job:17:1","objectives":{"fd":{"value":28.9,"stderr":0.3,"n":1000}},
//       "constraints":[-0.2],"metrics":{"mmd":0.1}}
//                                   a plain number stands for {"value": number}; a constraint is
//                                   satisfied when it is not greater than 0
//   <- {"type":"error","id":"job:17:1","kind":"infeasible|transient|fatal","message":".."}
//   -> {"type":"cancel","id":"job:17:1"}
//
// Of hello only paretod and type are required.  Unknown fields of hello are refused, those of
// other messages ignored.

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "evaluators/evaluator.hpp"
#include "optimizers/core/result.hpp"

namespace paretod {

/// Bytes of one line from an evaluator, without its end.
inline constexpr std::size_t longest_line = 1 << 20;

struct Hello {
  /// Its `type` is left empty, `summary` is the name the evaluator gave, `slots` those of one
  /// process.
  EvaluatorDescription description;
  /// Equal for equal declarations.
  std::string canonical;
};

/// Problems point into the line.
Result<Hello> parse_hello(std::string_view line);

struct ProgressMessage {
  std::string id;
};

struct ResultMessage {
  std::string id;
  std::map<std::string, Measurement> objectives;
  std::vector<double> constraints;
  Metrics metrics;
  /// What is wrong with its values, naming the field; then the attempt fails.
  std::string defect;
};

struct ErrorMessage {
  std::string id;
  TrialStatus status = TrialStatus::failed;
  bool retry = false;
  std::string text;
};

using EvaluatorMessage = std::variant<ProgressMessage, ResultMessage, ErrorMessage>;

/// What an evaluator says after its hello.  An error means that the line cannot be attributed to
/// a request.
Result<EvaluatorMessage> parse_message(std::string_view line);

/// The reply that a result or error stands for; a missing objective fails it.  Ticket and seconds
/// are left to the caller.
EvaluationReply reply_of(const ResultMessage& message, const std::vector<Objective>& objectives);
EvaluationReply reply_of(const ErrorMessage& message);

/// Lines with their end.  Parameters that the job leaves out are sent with their declared
/// defaults, fidelity 0 as the declared default.
std::string evaluate_line(const EvaluationRequest& request, const EvaluatorDescription& declared);
std::string cancel_line(const std::string& id);

}  // namespace paretod
